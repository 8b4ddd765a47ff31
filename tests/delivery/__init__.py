"""As `pop3fetch/delivery/`, module by module."""
