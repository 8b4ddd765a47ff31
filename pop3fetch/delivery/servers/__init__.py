"""Destinations that are mail servers: LMTP, SMTP and IMAP.

``address`` reads their URLs, ``line`` is a connection as the standard library's clients use one, ``login``
the SASL exchange, and ``spool`` a message on its way. ``transfer`` delivers by LMTP and SMTP with the client
in ``smtp_client``. ``mailbox`` delivers by IMAP with the client in ``imap_client``, and ``settling`` decides
what became of a message whose reply was lost.
"""
