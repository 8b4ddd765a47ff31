"""From an account to a client that is logged in, and the pauses between logins."""
