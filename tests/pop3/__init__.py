"""As `pop3fetch/pop3/`, by module, or by subject if it concerns several."""
