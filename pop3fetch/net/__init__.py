"""Octets over a connection: names, proxies, TLS, time-outs. It knows nothing of POP3."""
