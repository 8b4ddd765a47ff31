"""Destinations that are mail servers."""
