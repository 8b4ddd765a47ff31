"""Each message exactly once: what `get` does between the login and the last QUIT.

:mod:`~pop3fetch.fetch.run` is the way through; the modules beside it are its steps.
"""
