"""As `pop3fetch/headers/`, module by module."""
