"""pop3fetch against servers that others have written; skipped if they are not installed."""
