"""As `pop3fetch/delivery/`, by module, or by subject if it concerns several."""
