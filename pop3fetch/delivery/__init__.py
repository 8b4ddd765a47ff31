"""Destinations of messages: a maildir, an mbox file, a program, standard output, or a mail server.

Every destination is a :class:`~pop3fetch.delivery.destination.Destination`. The table of all is
:mod:`~pop3fetch.delivery.kinds`; :mod:`~pop3fetch.delivery.opening` reads the name that a person gave one.
"""
