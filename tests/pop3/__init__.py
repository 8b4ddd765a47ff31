"""As `pop3fetch/pop3/`, module by module."""
