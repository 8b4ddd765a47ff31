"""Destinations of messages: a maildir, an mbox file, a program, or standard output.

Every destination is a :class:`~pop3fetch.delivery.destination.Destination`; :mod:`~pop3fetch.delivery.kinds`
reads the name that a person gave it.
"""
