"""What other programs have configured and fetched: their files are read, and nothing in them is run.

There is a module, or a few, for each program; ``foreign`` is what they have in common. ``files`` opens their
files, and ``jobs`` finds what still runs them.
"""
