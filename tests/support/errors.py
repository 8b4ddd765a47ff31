"""One example of each error, or more if its advice depends on its facts."""

from __future__ import annotations

from pop3fetch.errors import (
    AuthenticationError,
    AuthorizationFailed,
    CertificateError,
    ClientCertificateRequired,
    CommandNotAllowed,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    DeletionUnsafe,
    DeliveryError,
    DestinationLocked,
    EmptyMessage,
    FetcherRunning,
    GreetingRefused,
    HeadersNotOffered,
    IncompleteMessage,
    InsecureAuthenticationDisallowed,
    InvalidArgument,
    InvalidSelector,
    LineTooLong,
    LoginPaused,
    LoginRefused,
    LoginTooSoon,
    MalformedListing,
    MechanismFailed,
    MechanismNotOffered,
    MessageNotFound,
    NoCommonCipher,
    NoPassword,
    NotATLSPort,
    NothingRecognised,
    NothingToVerify,
    NotPOP3Server,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    RecordError,
    RecordLocked,
    RecordNotWritten,
    ResolverFailed,
    ServerErrorResponse,
    ServerFailed,
    ServerNotFound,
    SessionEnded,
    ThreadLimit,
    TimedOut,
    TLSError,
    TLSNotSupportedError,
    UidShared,
    UniqueIdsRefused,
    UnknownHost,
    UsageError,
)

HOST = "pop.example.org"
FINGERPRINT = "0123456789abcdef" * 4
CERTIFICATE = (
    ("subject", "CN=mail.hoster.example"),
    ("names", "mail.hoster.example pop.hoster.example imap.hoster.example smtp.hoster.example"),
    ("issuer", "CN=Hoster's own authority,O=Hoster"),
    ("expires", "2027-01-05"),
)
PATH = "/home/alice/.local/state/pop3fetch/alice@pop.example.org-0123456789ab"


def refused_certificate(reason: str, cause: str = "", ca_file: str = "") -> CertificateError:
    return CertificateError(HOST, reason, CERTIFICATE, FINGERPRINT, cause, ca_file)


def refused_login(source: str, stored_for: str | None = None) -> LoginRefused:
    return LoginRefused("PLAIN", b"[AUTH] wrong user or password", b"AUTH", "alice", source, stored_for)


def failed_server(cause: POP3Error) -> ServerFailed:
    failure = ServerFailed(destination="imaps://alice@imap.example.org/INBOX", reason=str(cause))
    failure.__cause__ = cause
    return failure


EXAMPLES: dict[str, POP3Error] = {
    "a refused command": ServerErrorResponse("RETR 2", b"[SYS/TEMP] the disk reports an error", b"SYS/TEMP"),
    "a refused command without a reason": ServerErrorResponse("DELE", b""),
    "a refused connection": GreetingRefused("the connection", b"[SYS/TEMP] overloaded", b"SYS/TEMP"),
    "a refused login": refused_login(""),
    "a refused password of the environment": refused_login("POP3FETCH_PASSWORD"),
    "a refused password of a file": refused_login("the password file /run/secret"),
    "a refused password of a command": refused_login("the password command (pass)"),
    "a refused password of the keyring": refused_login("the keyring", "work"),
    "a refused password of the keyring, without an account": refused_login("the keyring", ""),
    "a refused token of OAuth 2": refused_login("the OAuth 2 server", "work"),
    "a refused login whose user may be another": LoginRefused(
        "PLAIN", b"[AUTH] no", b"AUTH", "alice@example.org", other_user="alice"
    ),
    "a refused login that no password cures": LoginRefused(
        "PLAIN", b"[SYS/PERM] POP3 is not enabled", b"SYS/PERM", "alice", "the keyring", "work"
    ),
    "a broken protocol": ProtocolViolation("octets that were not requested", b"* BYE\r\n"),
    "an IMAP server": NotPOP3Server("it speaks IMAP", b"* OK IMAP4rev1 ready", "IMAP", 993),
    "an IMAP server at the port of POP3": NotPOP3Server(
        "it speaks IMAP", b"* OK IMAP4rev1 ready", "IMAP", 995
    ),
    "a TLS server": NotPOP3Server("it speaks TLS", b"\x15\x03\x01", "TLS"),
    "a web server": NotPOP3Server("it speaks HTTP", b"HTTP/1.1 400 Bad Request", "HTTP"),
    "an unknown server": NotPOP3Server("its greeting is not +OK", b"hello"),
    "a long line": LineTooLong("a line is longer than 8192 octets", b"+OK xxxxxxxxxxxxxxxxxxxxxxxx"),
    "a wrong listing": MalformedListing("message number 3 is listed twice"),
    "replies mixed up": PipeliningBroken("the reply to RETR 2 does not begin with a status indicator", b"x"),
    "no connection": ConnectionFailed(HOST, 995, "Connection refused"),
    "no connection to a socket": ConnectionFailed("unix:/run/pop3", 0, "No such file or directory"),
    "a lost connection": ConnectionLost(HOST, "while waiting for the reply to RETR 2"),
    "a time-out": TimedOut(HOST, "waiting for the reply to LIST from", 60),
    "a time-out of a TLS port": TimedOut(HOST, "waiting for the greeting of", 60, may_await_tls=True),
    "an unknown host": UnknownHost(HOST, "Name or service not known"),
    "a silent resolver": ResolverFailed(HOST, "Temporary failure in name resolution"),
    "no server of a domain": ServerNotFound("example.org", "its DNS says that it offers no POP3"),
    "a broken TLS session": TLSError(HOST, "decryption failed or bad record mac"),
    "a client certificate is required": ClientCertificateRequired(
        HOST, "the server requires a client certificate"
    ),
    "no STLS": TLSNotSupportedError(HOST, "it does not offer STLS"),
    "no common cipher": NoCommonCipher(HOST, "the server ended the handshake (alert handshake failure)"),
    "no common cipher, as many offered as the library has": NoCommonCipher(
        HOST, "the server ended the handshake (alert handshake failure)", "DEFAULT"
    ),
    "no common cipher of a list": NoCommonCipher(
        HOST, "the server ended the handshake (alert handshake failure)", "AES256-SHA"
    ),
    "not a TLS port": NotATLSPort(HOST, "this port does not seem to speak TLS (wrong version number)"),
    "a certificate of an unknown authority": refused_certificate(
        "its authority is not trusted (unable to get local issuer certificate)", "authority"
    ),
    "a certificate that the CA file does not cover": refused_certificate(
        "its authority is not trusted (unable to get local issuer certificate)",
        "authority",
        "/etc/mail/ca.pem",
    ),
    "an expired certificate": refused_certificate("certificate has expired", "expired"),
    "a certificate of the future": refused_certificate("certificate is not yet valid", "not yet valid"),
    "a certificate of another host": refused_certificate(
        "Hostname mismatch, certificate is not valid for 'pop.example.org'", "name"
    ),
    "a certificate without names": CertificateError(
        HOST,
        "Hostname mismatch, certificate is not valid for 'pop.example.org'",
        CERTIFICATE[:1] + CERTIFICATE[2:],
        FINGERPRINT,
        "name",
    ),
    "a certificate that is not the pinned one": refused_certificate(
        "its fingerprint does not match", "fingerprint"
    ),
    "a weak certificate": refused_certificate("EE certificate key too weak"),
    "a certificate that cannot be shown": CertificateError(HOST, "certificate has expired", cause="expired"),
    "a login that is not possible": AuthenticationError("XOAUTH2: the server requests more"),
    "a password in clear text": InsecureAuthenticationDisallowed(
        "not logging in: the password would cross the network in clear text", offers_stls=True
    ),
    "a password in clear text without STLS": InsecureAuthenticationDisallowed(
        "not logging in: the server offers no STLS and the password would cross the network in clear text"
    ),
    "APOP refused, clear text allowed": InsecureAuthenticationDisallowed(
        "not logging in: the password would cross the network in clear text",
        offers_stls=True,
        is_allowed=True,
    ),
    "a method that is not offered": MechanismNotOffered("the server does not offer PLAIN; it offers LOGIN"),
    "APOP after STLS": MechanismNotOffered(
        "no APOP after STLS: the challenge was received in clear text, and may be forged", is_forgeable=True
    ),
    "a failed mechanism": MechanismFailed("SCRAM-SHA-256: the server's nonce does not begin with ours"),
    "a failed authorization": AuthorizationFailed("the OAuth 2 server refused: access_denied"),
    "no password": NoPassword("the password file /run/secret cannot be read: Permission denied"),
    "too early": LoginTooSoon("alice@pop.example.org", 600),
    "too early after a refused login": LoginPaused(
        "alice@pop.example.org",
        900,
        "2026-11-29 08:15",
        "the server refused the login of alice (PLAIN): [AUTH] no",
    ),
    "a session that is over": SessionEnded("QUIT was sent"),
    "a command out of place": CommandNotAllowed("RETR", "AUTHORIZATION"),
    "an argument that cannot be sent": InvalidArgument("USER", "the line would be too long"),
    "an empty message": EmptyMessage(3),
    "a blank message": IncompleteMessage(3, 5000),
    "half a message": IncompleteMessage(3, 5000, 2500),
    "refused unique-ids": UniqueIdsRefused("alice@pop.example.org"),
    "no headers": HeadersNotOffered(),
    "no more threads": ThreadLimit(),
    "an unsafe deletion": DeletionUnsafe(),
    "a missing message": MessageNotFound("9"),
    "a message that is not recorded": MessageNotFound("uid:x", "in the record"),
    "a shared unique-id": UidShared("uid:x", "1, 2"),
    "a failed delivery": DeliveryError("maildir:/home/alice/Maildir", "the disk is full"),
    "a mail server that refuses": ServerFailed(
        destination="lmtp://localhost",
        reason="the recipient <bob@example.org> was refused: 550 5.1.1 unknown",
    ),
    "a mail server that refuses the login": failed_server(refused_login("the keyring", "@box")),
    "a mail server whose certificate does not verify": failed_server(
        refused_certificate(
            "its authority is not trusted (unable to get local issuer certificate)", "authority"
        )
    ),
    "a mail server that hangs up": failed_server(ConnectionLost("imap.example.org", "in the TLS handshake")),
    "a message without a reply": ServerFailed(
        destination="lmtp://localhost",
        reason="the reply to it was lost in 3 runs, so it may be there 3 times",
        fatal=False,
        unless_named=3,
    ),
    "a locked destination": DestinationLocked("mbox:/var/mail/alice", "it is locked by another program"),
    "a record on a full disk": RecordNotWritten(f"{PATH}.sqlite", "No space left on device"),
    "a record that is a link": RecordError(f"{PATH}.sqlite", "it is a symbolic link; remove it"),
    "a locked record": RecordLocked(f"{PATH}.lock", "it is locked"),
    "another fetcher at work": FetcherRunning("fetchmail", "/home/alice/.fetchmail.pid", 4711),
    "another fetcher that may be at work": FetcherRunning("mpop", "/home/alice/.mpop_uidls/work.lock"),
    "a wrong configuration": ConfigurationError("/etc/p.toml: accounts.work.host", "must not be empty"),
    "additions of another mailbox": NothingRecognised(
        f"{PATH}.sqlite", "none of the 12 unique-ids added to it is among the 5 messages on the server"
    ),
    "nothing to verify": NothingToVerify("unix:/run/pop3"),
    "a wrong command line": UsageError("--all and MESSAGES are mutually exclusive"),
    "a wrong message": InvalidSelector("'0' is not a message; numbers begin with 1", "0"),
    "an address instead of a message": InvalidSelector(
        "'alice@example.org' is not a message", "alice@example.org", is_address=True
    ),
}
