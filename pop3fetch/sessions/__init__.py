"""From an account to a client that is logged in, and out again."""
