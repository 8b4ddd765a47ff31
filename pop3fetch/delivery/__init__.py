"""Where messages go: a maildir, an mbox file, a program, or standard output.

Every destination is a :class:`~pop3fetch.delivery.destination.Destination`; ``choose`` makes the
one that a person named.
"""
