"""As `pop3fetch/record/`, module by module."""
