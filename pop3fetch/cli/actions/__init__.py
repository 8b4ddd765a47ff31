"""What each command does for one account."""
