"""As `pop3fetch/fetch/`, module by module."""
