"""As `pop3fetch/importing/`, module by module."""
