"""From POP3 to IMAP as one writes it in an afternoon: one message after the other, each fetched and appended.

    imaplib_append.py HOST POP3S_PORT USER IMAPS_PORT TARGET CA_FILE TARGET_CA_FILE

The password, which is that of both users, is in POPLIB_PASSWORD.
"""

from __future__ import annotations

import imaplib
import os
import poplib
import ssl
import sys


def main() -> None:
    """Move copies of all messages."""
    host, port, user, imap_port, target, ca_file, target_ca_file = sys.argv[1:]
    password = os.environ["POPLIB_PASSWORD"]
    source = poplib.POP3_SSL(host, int(port), context=ssl.create_default_context(cafile=ca_file))
    source.user(user)
    source.pass_(password)
    context = ssl.create_default_context(cafile=target_ca_file)
    store = imaplib.IMAP4_SSL(host, int(imap_port), ssl_context=context)
    store.login(target, password)
    for number in range(1, source.stat()[0] + 1):
        message = b"\r\n".join(source.retr(number)[1]) + b"\r\n"
        answer, _ = store.append("INBOX", None, None, message)  # type: ignore[arg-type]
        if answer != "OK":
            raise SystemExit(f"message {number} was refused")
    store.logout()
    source.quit()


if __name__ == "__main__":
    main()
