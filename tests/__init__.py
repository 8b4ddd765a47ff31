"""The tests, and the servers that they talk to."""
