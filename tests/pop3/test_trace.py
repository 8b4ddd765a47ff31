"""What ``-vv`` shows: every line, and no secret."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.pop3.machine import COMMANDS, Challenge, Content, End, Greeting, Reply
from pop3fetch.pop3.trace import BLOT, Secrets, Trace
from pop3fetch.pop3.wire import StatusLine

SECRET = "secret pass-wörd"
OCTETS = SECRET.encode()


class Shown(list[tuple[str, bytes]]):
    """What a trace has shown."""

    def __call__(self, mark: str, octets: bytes) -> None:
        self.append((mark, octets))


def refused(text: bytes) -> Reply:
    return Reply("PASS", StatusLine(False, text))


@pytest.mark.parametrize(
    ("name", "line", "shown"),
    [
        ("PASS", b"PASS secret\r\n", b"PASS (secret)"),
        ("PASS", b"PASS a secret of four words\r\n", b"PASS (secret)"),
        ("PASS", b"PASS \r\n", b"PASS (secret)"),
        ("APOP", b"APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n", b"APOP alice (secret)"),
        ("AUTH", b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", b"AUTH PLAIN (secret)"),
        ("AUTH", b"AUTH CRAM-MD5\r\n", b"AUTH CRAM-MD5"),
        ("USER", b"USER alice\r\n", b"USER alice"),
        ("RETR", b"RETR 1\r\n", b"RETR 1"),
        ("XTND", b"XTND XLST secret\r\n", b"XTND XLST secret"),
    ],
)
def test_a_command_is_shown_without_its_secret(name: str, line: bytes, shown: bytes) -> None:
    trace = Trace(told := Shown())
    trace.sent(line, COMMANDS.get(name))
    assert told == [(">", shown)]


def test_a_sasl_response_is_never_shown() -> None:
    trace = Trace(told := Shown())
    trace.secret_sent()
    assert told == [(">", b"(secret)")]


def test_the_text_of_the_server_is_shown() -> None:
    trace = Trace(told := Shown())
    trace.event(Greeting(b"ready <1@example.org>", b"<1@example.org>"))
    trace.event(Reply("NOOP", StatusLine(True, b"")))
    trace.event(refused(b"[AUTH] no"))
    assert told == [("<", b"+OK ready <1@example.org>"), ("<", b"+OK"), ("<", b"-ERR [AUTH] no")]


def test_a_sasl_challenge_is_not_shown_as_it_may_be_what_guesses_are_tried_on() -> None:
    trace = Trace(told := Shown())
    trace.event(Challenge(b"PDE4OTZAZXhhbXBsZT4="))
    assert told == [("<", b"+ (challenge)")]


def test_content_is_counted_and_not_shown() -> None:
    trace = Trace(told := Shown())
    for size in (5, 7):
        trace.event(Content(b"x" * size))
        trace.event(Content(b"x" * size))
        trace.event(End("RETR"))
    assert told == [("<", b"(10 octets)"), ("<", b"(14 octets)")]


def test_our_own_notes_have_their_own_mark() -> None:
    trace = Trace(told := Shown())
    trace.note("TLS: TLSv1.3")
    assert told == [("=", b"TLS: TLSv1.3")]


@pytest.mark.parametrize("form", [OCTETS, base64.b64encode(OCTETS), OCTETS.hex().encode()])
def test_a_secret_that_the_server_repeats_is_blotted_out(form: bytes) -> None:
    trace = Trace(told := Shown())
    trace.secrets.keep(SECRET)
    trace.event(refused(b"not <" + form + b"> again"))
    assert told == [("<", b"-ERR not <(secret)> again")]


def test_secrets_are_those_of_all_connections_that_share_them() -> None:
    shared = Secrets()
    Trace(None, shared).secrets.keep("hunter2")
    trace = Trace(told := Shown(), shared)
    trace.event(Greeting(b"you are hunter2", None))
    assert told == [("<", b"+OK you are (secret)")]
    assert "hunter2" not in repr(shared)


def test_of_two_secrets_the_longer_is_blotted_out_first() -> None:
    trace = Trace(told := Shown())
    trace.secrets.keep("secret", "secret and more")
    trace.event(refused(b"secret and more"))
    assert told == [("<", b"-ERR (secret)")]


@pytest.mark.parametrize("secret", ["secret", "(", "(secret)", "cret)"])
def test_a_blot_is_not_blotted_out_again(secret: str) -> None:
    trace = Trace(told := Shown())
    trace.secrets.keep(secret)
    trace.sent(b"PASS " + secret.encode() + b"\r\n", COMMANDS["PASS"])
    trace.secret_sent()
    assert told == [(">", b"PASS (secret)"), (">", b"(secret)")]


def test_an_empty_secret_blots_nothing_out() -> None:
    trace = Trace(told := Shown())
    trace.secrets.keep("", b"")
    trace.event(refused(b"no"))
    assert told == [("<", b"-ERR no")]


def test_octets_that_are_not_text_can_be_secret() -> None:
    trace = Trace()
    trace.secrets.keep("\udcff\udcfe", b"\x00\x01")
    assert trace.secrets.blot(b"<\xff\xfe> <\x00\x01>") == b"<(secret)> <(secret)>"


def test_a_trace_without_a_listener_still_masks_secrets_in_errors() -> None:
    trace = Trace()
    assert not trace.active
    trace.secrets.keep(SECRET)
    trace.event(refused(b"no"))
    assert trace.secrets.blot(b"not " + OCTETS) == b"not (secret)"


@pytest.mark.parametrize("ahead", [b"", b"\0", b"\0alice\0", b"user=alice\x01auth=Bearer "])
@pytest.mark.parametrize("behind", [b"", b"\x01", b"\x01\x01", b" and more"])
def test_a_secret_somewhere_inside_base64_is_blotted_out(ahead: bytes, behind: bytes) -> None:
    trace = Trace()
    trace.secrets.keep(SECRET)
    word = base64.b64encode(ahead + OCTETS + behind)
    assert trace.secrets.blot(b"not " + word + b", please") == b"not (secret), please"


def test_a_secret_inside_base64_that_was_cut_off_is_blotted_out() -> None:
    trace = Trace()
    trace.secrets.keep(SECRET)
    word = base64.b64encode(b"\0alice\0" + OCTETS + b"and so on")[:-5]
    assert trace.secrets.blot(word) == b"(secret)"


def test_hexadecimal_digits_may_be_upper_case() -> None:
    trace = Trace()
    trace.secrets.keep(SECRET)
    assert trace.secrets.blot(OCTETS.hex().upper().encode()) == b"(secret)"


def test_a_short_secret_does_not_hide_what_merely_looks_like_it_in_base64() -> None:
    trace = Trace()
    trace.secrets.keep("ab")  # YWI=
    assert trace.secrets.blot(b"YWxpY2U= ab") == b"YWxpY2U= (secret)"


def test_the_blot_itself_is_not_searched() -> None:
    trace = Trace()
    trace.secrets.keep("secret", "(secret)")
    assert trace.secrets.blot(b"a secret (secret)") == b"a (secret) (secret)"


@given(st.binary(min_size=4, max_size=12), st.binary(max_size=9), st.binary(max_size=9))
def test_no_secret_of_four_octets_can_be_read_out_of_base64(
    secret: bytes, ahead: bytes, behind: bytes
) -> None:
    trace = Trace()
    trace.secrets.keep(secret)
    left = trace.secrets.blot(base64.b64encode(ahead + secret + behind)).split(BLOT)
    assert len(left) > 1
    assert not any(base64.b64encode(secret).rstrip(b"=")[:-1] in part for part in left)
