"""pop3fetch against servers that others have written; skipped where they are not installed."""
