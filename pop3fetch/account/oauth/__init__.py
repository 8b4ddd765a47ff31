"""OAuth 2: log in with a browser or a code, and get access tokens without either."""
