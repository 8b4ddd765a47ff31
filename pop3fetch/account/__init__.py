"""The accounts: servers, users and their secrets.

``settings`` is the table of settings, a row each, and ``checks`` what they may be; ``url`` reads an
account that is given as a URL, ``config`` makes one ``Account`` of file, environment and options,
``credentials`` finds its password, ``oauth`` an access token in its place. For a new account
``discovery`` tells where its server may be, and ``registration`` writes it into the file. Nothing
here talks to a mail server, prints, or reads ``os.environ``.
"""

from __future__ import annotations
