"""The accounts: servers, users and their secrets.

``settings_table`` has a row for each setting, and ``checks`` the values that they accept. ``url`` reads an
account that is given as a URL. ``config_file`` makes one ``Account`` of file, environment and options.
``credentials`` finds its password, ``oauth`` an access token instead. For a new account, ``discovery`` finds
out which servers are possible, and ``registration`` writes it into the file. Nothing here connects to a mail
server, prints, or reads ``os.environ``.
"""

from __future__ import annotations
