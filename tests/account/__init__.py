"""As `pop3fetch/account/`, module by module."""
