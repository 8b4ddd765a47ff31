"""A night in which a server is down, and what cron or systemd would see of it."""
