"""SASL mechanisms as pure steps, and the APOP digest: a challenge in, a response out.

Challenges and responses are octets before base64, which is three functions at the end. The caller sends
AUTH and ``*``, and reads ``+``. Nothing here reads, writes or uses the time. The only random value,
SCRAM's nonce, may be given. Whatever a server sends, the only exception raised is
:class:`MechanismFailed`, and it never shows a secret.

    the server sends first    LOGIN, CRAM-MD5
    the client sends first    all others: ``initial()`` goes with AUTH, or answers an empty ``+``
    the server proves itself  only SCRAM: there a +OK is a success only after ``finish()``

A mechanism is made before AUTH is sent, so credentials that it cannot carry are refused before that.
All that is said of a mechanism by its name is in the table ``MECHANISMS``, and its word in ``defaults``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Literal

from pop3fetch.errors import MechanismFailed
from pop3fetch.printable import printable
from pop3fetch.values import NamedTuple, veiled

if TYPE_CHECKING:
    import hashlib

# RFC 7677 section 4 asks for 4096 at least: with fewer our proof is cheap to guess from. A million take
# about half a second; 2^31 would hang us (CVE-2026-42256).
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 1_000_000

# RFC 5802 section 7, server-first-message. A mandatory extension, m=, would come first. It does not match,
# as section 5.1 requires it to be refused.
SERVER_FIRST = r"(?s)r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]*)(?:,.*)?"
SCRAMP_SALT = "A" * 16  # scramp refuses salts under 12 octets, and RFC 5802 allows any; so it sees this one

NUL = frozenset(b"\0")
CONTROLS = frozenset([*range(0x20), 0x7F])


class Credentials(NamedTuple):
    """The user, the secret, and what else a mechanism sends.

    ``secret`` is a password, or an OAuth 2 access token; only OAUTHBEARER sends ``host`` and ``port``.
    ``channel_binding`` is a type and its octets, such as ``("tls-exporter", b"...")``. With a SCRAM that
    is not -PLUS it claims that the server offered no -PLUS. A server that offered one must end the login
    (RFC 5802 section 6), so leave it out then.
    """

    user: str
    secret: str
    host: str = ""
    port: int = 0
    channel_binding: tuple[str, bytes] | None = None

    def __repr__(self) -> str:
        return veiled(self, "secret")


class Mechanism:
    """The client's side of one exchange; an instance is used once."""

    unfit: ClassVar[frozenset[int]] = NUL  # octets that neither user name nor secret may contain

    def __init__(self, name: str, credentials: Credentials, nonce: str | None = None) -> None:
        self.name = name
        self._user = _octets(name, "user name", credentials.user, self.unfit)
        self._secret = _octets(name, "secret", credentials.secret, self.unfit)
        self._left = iter(self.steps())

    def steps(self) -> tuple[Callable[[bytes], bytes], ...]:
        """Return a function for each challenge, in order."""
        return ()

    def initial(self) -> bytes | None:
        """Return the initial response, or None if the server sends first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """Return the response to the next challenge; raise MechanismFailed if none is left."""
        step = next(self._left, None)
        if step is None:
            raise self._failure("the server requests more than the mechanism sends")
        return step(challenge)

    def finish(self) -> None:
        """Take the server's +OK; raise MechanismFailed if the server has not proved itself."""

    def refused(self) -> str:
        """Return the text of an OAuth error challenge, safe to show; empty if none was received."""
        return ""

    def _failure(self, reason: str) -> MechanismFailed:
        return MechanismFailed(f"{self.name}: {reason}")


class Plain(Mechanism):
    """PLAIN: user name and password in one message (RFC 4616)."""

    def initial(self) -> bytes:
        return b"\0" + self._user + b"\0" + self._secret


class LoginMechanism(Mechanism):
    """LOGIN: user name, then password; the text of the two prompts differs between servers."""

    def steps(self) -> tuple[Callable[[bytes], bytes], ...]:
        return (lambda prompt: self._user, lambda prompt: self._secret)


class CramMD5(Mechanism):
    """CRAM-MD5: a keyed digest of the server's challenge (RFC 2195)."""

    def steps(self) -> tuple[Callable[[bytes], bytes], ...]:
        return (self._digest,)

    def _digest(self, challenge: bytes) -> bytes:
        if not challenge:
            # A digest of nothing is the same at every login: a server that requests it collects passwords.
            raise self._failure("the server's challenge is empty")
        import hmac

        return self._user + b" " + hmac.new(self._secret, challenge, _md5).hexdigest().encode()


class External(Mechanism):
    """EXTERNAL: the client certificate authenticates, and the user name is sent (RFC 4422 appendix A)."""

    def initial(self) -> bytes:
        return self._user


class Bearer(Mechanism):
    """What XOAUTH2 and OAUTHBEARER share: a token out, and on failure an error challenge in."""

    unfit = CONTROLS  # \x01 parts the fields
    acknowledgement: ClassVar[bytes]  # the response that the server requires before its -ERR
    _refusal = ""

    def steps(self) -> tuple[Callable[[bytes], bytes], ...]:
        return (self._acknowledge,)

    def refused(self) -> str:
        return self._refusal

    def _acknowledge(self, challenge: bytes) -> bytes:
        """Keep the fields of an error challenge (RFC 7628 section 3.2.2), or all of one in another form."""
        import json

        text = challenge.decode(errors="backslashreplace")
        with suppress(ValueError, RecursionError):  # eight kilobytes of "[" are nested too deeply
            fields = json.loads(text)
            if isinstance(fields, dict):
                shown = {key: value for key, value in fields.items() if isinstance(value, str | int)}
                text = ", ".join(f"{key}: {value}" for key, value in shown.items() if value != "") or text
        secret = self._secret.decode()  # which some servers repeat
        # Whole: a part of the secret would not be recognised, and masked, in what is shown.
        self._refusal = printable(text.replace(secret, "(secret)") if secret else text, None)
        return self.acknowledgement


class XOAuth2(Bearer):
    """XOAUTH2, as Google and Microsoft describe it."""

    acknowledgement = b""

    def initial(self) -> bytes:
        return b"user=" + self._user + b"\x01auth=Bearer " + self._secret + b"\x01\x01"


class OAuthBearer(Bearer):
    """OAUTHBEARER (RFC 7628)."""

    acknowledgement = b"\x01"  # section 3.2.3

    def __init__(self, name: str, credentials: Credentials, nonce: str | None = None) -> None:
        super().__init__(name, credentials)
        self._host = _octets(name, "host name", credentials.host, self.unfit)
        self._port = credentials.port

    def initial(self) -> bytes:
        user = self._user.replace(b"=", b"=3D").replace(b",", b"=2C")  # RFC 5801 section 4, saslname
        fields = [b"n,a=" + user + b","]
        if self._host:
            fields.append(b"host=" + self._host)
        if self._port:
            fields.append(b"port=%d" % self._port)
        return b"\x01".join([*fields, b"auth=Bearer " + self._secret, b"", b""])


class Scram(Mechanism):
    """SCRAM-SHA-1, SCRAM-SHA-256 and their -PLUS forms (RFC 5802, RFC 7677).

    scramp does the arithmetic, SASLprep, and the check of the server's signature.
    """

    def __init__(self, name: str, credentials: Credentials, nonce: str | None = None) -> None:
        super().__init__(name, credentials)
        if name.endswith("-PLUS") and credentials.channel_binding is None:
            raise self._failure("there is no TLS channel to bind the login to")
        from scramp import ScramClient

        if nonce is None:
            import secrets

            nonce = secrets.token_urlsafe(24)  # base64url has no comma, which a nonce may not contain
        self._nonce = nonce
        self._verified = False
        binding = credentials.channel_binding
        is_exporter = binding is not None and binding[0] == "tls-exporter"
        if binding and is_exporter:
            # scramp 1.5 refuses this type by name, as Python's ssl cannot export its octets (RFC 9266). SCRAM
            # treats the octets of all types alike: only the name in the GS2 header must be right.
            binding = ("tls-unique", binding[1])
        with self._trouble("it does not work with this user name, password or channel"):
            self._client = ScramClient([name], credentials.user, credentials.secret, binding, nonce)
            if is_exporter:
                self._client.cb.name.cb_name = "tls-exporter"
            self._client_first: str = self._client.get_client_first()

    def steps(self) -> tuple[Callable[[bytes], bytes], ...]:
        return (self._client_final, self._verify)

    def initial(self) -> bytes:
        return self._client_first.encode()

    def finish(self) -> None:
        if not self._verified:
            raise self._failure("the server accepted the login without proving that it knows the password")

    def _client_final(self, challenge: bytes) -> bytes:
        server_first = self._message(challenge)
        salt = self._check(server_first)
        with self._trouble("the server's first message is wrong"):
            self._client.set_server_first(server_first.replace(f",s={salt},", f",s={SCRAMP_SALT},", 1))
            self._client.salt, self._client.server_first = decode(salt.encode()), server_first
            client_final: str = self._client.get_client_final()
        return client_final.encode()

    def _verify(self, challenge: bytes) -> bytes:
        server_final = self._message(challenge)
        with self._trouble("the server does not prove that it knows the password"):
            self._client.set_server_final(server_final)
        self._verified = True
        return b""

    def _message(self, challenge: bytes) -> str:
        """Decode a server's message, and raise the error that it may be."""
        try:
            message = challenge.decode()
        except UnicodeDecodeError as error:
            raise self._failure("the server's message is not UTF-8") from error
        if message.startswith("e="):
            raise self._failure(f"the server refuses: {printable(message[2:])}")
        return message

    def _check(self, server_first: str) -> str:
        """Refuse a foreign nonce and a hostile count of iterations before computing; return the salt."""
        match = re.fullmatch(SERVER_FIRST, server_first)
        if match is None:
            raise self._failure("the server's first message is malformed")
        nonce, salt, count = match.groups()
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise self._failure("the server's nonce does not begin with ours")
        # Seven digits hold the maximum; int() takes no more than 4300.
        if len(count) > 7 or not MIN_ITERATIONS <= int(count) <= MAX_ITERATIONS:
            raise self._failure(
                f"the server requests {printable(count, 20)} iterations, "
                f"outside of {MIN_ITERATIONS} to {MAX_ITERATIONS}"
            )
        return salt

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        from scramp import ScramException

        try:
            yield
        except ScramException as error:
            raise self._failure(f"{what} ({printable(error.args[0])})") from error


Shows = Literal["proof", "secret", "certificate"]  # what the server sees; TLS shows it the certificate
Use = Literal["password", "last resort", "without TLS", "token", "forced"]

# The strongest first; for each what it is made by, what it shows, and what it is chosen for.
MECHANISMS: dict[str, tuple[type[Mechanism], Shows, Use]] = {
    "SCRAM-SHA-256-PLUS": (Scram, "proof", "password"),
    "SCRAM-SHA-256": (Scram, "proof", "password"),
    "SCRAM-SHA-1-PLUS": (Scram, "proof", "password"),
    "SCRAM-SHA-1": (Scram, "proof", "password"),
    "PLAIN": (Plain, "secret", "password"),
    # Microsoft's mail servers offer no other to a password; POP3 has USER.
    "LOGIN": (LoginMechanism, "secret", "last resort"),
    "CRAM-MD5": (CramMD5, "proof", "without TLS"),
    "OAUTHBEARER": (OAuthBearer, "secret", "token"),
    "XOAUTH2": (XOAuth2, "secret", "token"),
    "EXTERNAL": (External, "certificate", "forced"),
}


def mechanism(name: str, credentials: Credentials, *, nonce: str | None = None) -> Mechanism:
    """Return a new exchange of the mechanism ``name``, in any case.

    ``nonce`` is SCRAM's, printable ASCII without comma (default: a random one). Raise MechanismFailed if
    the mechanism is unknown, or cannot carry these credentials.
    """
    name = name.upper()
    if name not in MECHANISMS:
        raise MechanismFailed(f"unknown mechanism {printable(name)}; use one of {', '.join(MECHANISMS)}")
    made_by, _, _ = MECHANISMS[name]
    return made_by(name, credentials, nonce)


def apop_digest(challenge: bytes, secret: str) -> str:
    """Return the hexadecimal digest that answers a greeting's ``challenge``, ``<`` and ``>`` included.

    RFC 1939 section 7. Raise MechanismFailed if the secret contains a NUL or is not Unicode text.
    """
    return _md5(challenge + _octets("APOP", "secret", secret, NUL)).hexdigest()


def encode(response: bytes) -> bytes:
    """Return a response as base64; an empty one is an empty line (RFC 5034 section 4)."""
    return base64.b64encode(response)


def encode_initial(response: bytes) -> bytes:
    """Return an initial response as the argument of AUTH; an empty one is ``=``."""
    return encode(response) or b"="


def decode(challenge: bytes) -> bytes:
    """Return the octets of a base64 challenge; raise MechanismFailed if it is not base64."""
    try:
        return base64.b64decode(challenge, validate=True)
    except ValueError as error:
        raise MechanismFailed("the server's challenge is not base64") from error


def _md5(octets: bytes = b"") -> hashlib._Hash:
    import hashlib  # loads OpenSSL's part for it, and PLAIN does not need that

    # RFC 1939 and RFC 2195 leave no choice; the flag keeps it usable under FIPS rules.
    return hashlib.md5(octets, usedforsecurity=False)


def _octets(name: str, what: str, text: str, unfit: frozenset[int]) -> bytes:
    with suppress(UnicodeEncodeError):  # a lone surrogate represents an octet that is not UTF-8
        octets = text.encode()
        if unfit.isdisjoint(octets):
            return octets
    raise MechanismFailed(f"{name} cannot carry the {what}: it contains a control character or is not UTF-8")
