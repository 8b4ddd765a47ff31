"""The benchmark: pop3fetch and its peers side by side against a private Dovecot, ``make bench``.

Nothing here is part of the installed package.
"""
