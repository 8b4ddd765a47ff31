"""As `pop3fetch/fetch/`, by module, or by subject if it concerns several."""
