"""Logging in to a mail server: a mechanism that is chosen as for POP3, for any protocol to carry."""

from __future__ import annotations

from collections.abc import Iterable

from pop3fetch.delivery.servers.line import Line
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import InsecureAuthenticationDisallowed, MechanismNotOffered
from pop3fetch.pop3.login import CLEAR_TEXT, strongest
from pop3fetch.pop3.sasl import Credentials, Mechanism, Use, encode, mechanism


def chosen(server: MailServer, line: Line, offered: Iterable[str]) -> Mechanism:
    """Return the exchange by which to log in; the secret is asked for only now.

    Raises MechanismNotOffered, InsecureAuthenticationDisallowed, MechanismFailed, and NoPassword.
    """
    names = [name.upper() for name in offered]
    transport = line.transport
    binding = None
    if any(name.endswith("-PLUS") for name in names) and transport.tls:
        binding = transport.channel_binding()
    uses: tuple[Use, ...] = ("token",) if server.takes_tokens else ("password", "last resort")
    name = strongest(names, channel_binding=binding is not None, uses=uses)
    if name is None:
        raise MechanismNotOffered(f"the server offers no usable login; it offers {' '.join(names) or 'none'}")
    if name in CLEAR_TEXT and not transport.tls:
        raise InsecureAuthenticationDisallowed("not logging in without TLS")
    secret = server.secret()
    server.secrets.keep(secret)
    user, address = server.address.user or "", server.address
    if not name.startswith("SCRAM-") or (not name.endswith("-PLUS") and binding is None):
        binding = None
    credentials = Credentials(user, secret, transport.server_name or address.host, address.port, binding)
    return mechanism(name, credentials)


def veiled_response(server: MailServer, response: bytes) -> bytes:
    """Return a response in base64, which no trace shows from now on."""
    encoded = encode(response)
    server.secrets.keep(encoded)
    return encoded
