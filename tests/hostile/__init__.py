"""Hostile and odd servers, one named scenario each, against the real command."""
