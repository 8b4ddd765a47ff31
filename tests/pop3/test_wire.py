"""The octets of POP3: commands, lines, the greeting, and the ends of multi-line replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import InvalidArgument, LineTooLong, NotPOP3Server, ProtocolViolation
from pop3fetch.pop3.wire import (
    COMMAND_LIMIT,
    CRLF,
    LF,
    LINE_LIMIT,
    ContentReader,
    StatusLine,
    command_line,
    find_challenge,
    not_pop3,
    parse_status,
    refuse_other_protocols,
    response_line,
    take_line,
    with_lf,
)
from tests.support.segments import in_pieces

# -- what we send --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (("NOOP",), b"NOOP\r\n"),
        (("RETR", 3), b"RETR 3\r\n"),
        (("TOP", 3, 0), b"TOP 3 0\r\n"),
        (("USER", "alice"), b"USER alice\r\n"),
        (("USER", "zoë"), b"USER zo\xc3\xab\r\n"),
        (("USER", b"zo\xeb"), b"USER zo\xeb\r\n"),
        (("USER", "zo\udceb"), b"USER zo\xeb\r\n"),  # what Python makes of 8-bit in sys.argv
        (("PASS", " two  words "), b"PASS  two  words \r\n"),
        (("PASS", ""), b"PASS \r\n"),
    ],
)
def test_a_command_is_its_name_and_arguments(command: tuple[str, str | bytes | int], line: bytes) -> None:
    assert command_line(*command) == line


@pytest.mark.parametrize("octet", ["\r", "\n", "\0"])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("encode", [False, True])
def test_an_argument_with_cr_lf_or_nul_is_refused(octet: str, place: int, encode: bool) -> None:
    argument = "ab"[:place] + octet + "ab"[place:]
    with pytest.raises(InvalidArgument, match="CR, LF or NUL"):
        command_line("USER", argument.encode() if encode else argument)


def test_every_argument_is_looked_at() -> None:
    with pytest.raises(InvalidArgument):
        command_line("APOP", "alice", "0\r\nDELE 1")


def test_a_refusal_shows_no_argument() -> None:
    for arguments in (("secret\r\n",), ("secret" * 50,), ("secret\ud800",)):
        with pytest.raises(InvalidArgument) as refused:
            command_line("PASS", *arguments)
        assert "secret" not in str(refused.value)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="surrogate"):
        command_line("USER", "zo\ud83d")


@pytest.mark.parametrize("name", ["", "PASS secret", "PASS\r\n", "PASS\0", "zoë", "\x7f"])
def test_a_name_that_is_not_a_keyword_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        command_line(name)
    assert str(refused.value) == ("cannot send a command: its name is not printable ASCII without spaces")


def test_a_command_may_have_255_octets_and_no_more() -> None:
    longest = "x" * (COMMAND_LIMIT - len("USER \r\n"))
    assert len(command_line("USER", longest)) == 255
    with pytest.raises(InvalidArgument, match="255 octets"):
        command_line("USER", longest + "x")


def test_the_limit_of_a_command_counts_octets_and_not_characters() -> None:
    with pytest.raises(InvalidArgument, match="255 octets"):
        command_line("USER", "ë" * 125)


def test_a_response_may_be_longer_than_a_command() -> None:
    assert response_line(b"x" * 5000) == b"x" * 5000 + b"\r\n"


@pytest.mark.parametrize("response", [b"a\rb", b"a\nb", b"a\0b", b"a\r\nDELE 1"])
def test_a_response_that_is_more_than_a_line_is_refused(response: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"^cannot send a SASL response: it contains CR, LF or NUL$"):
        response_line(response)


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buffer", "start", "line_end", "line"),
    [
        (b"", 0, CRLF, None),
        (b"+OK", 0, CRLF, None),
        (b"+OK\r", 0, CRLF, None),
        (b"+OK\r\n", 0, CRLF, b"+OK"),
        (b"+OK\r\n-ERR\r\n", 0, CRLF, b"+OK"),
        (b"+OK\r\n-ERR\r\n", 5, CRLF, b"-ERR"),
        (b"+OK\r\n-ERR\r\n", 11, CRLF, None),
        (b"\r\n", 0, CRLF, b""),
        (b"a\rb\r\r\n", 0, CRLF, b"a\rb\r"),
        (b"a\0b\r\n", 0, CRLF, b"a\0b"),
        (b"+OK\n", 0, LF, b"+OK"),
        (b"+OK\r\n", 0, LF, b"+OK"),
        (b"+OK\r\r\n", 0, LF, b"+OK\r"),
        (b"\n", 0, LF, b""),
        (b"\r", 0, LF, None),
    ],
)
def test_a_line_is_taken_once_it_is_complete(
    buffer: bytes, start: int, line_end: bytes, line: bytes | None
) -> None:
    assert take_line(buffer, start, line_end) == line


@pytest.mark.parametrize(
    ("buffer", "start", "shown"),
    [
        (b"\n", 0, b""),
        (b"a\n", 0, b"a"),
        (b"a\nb\r\n", 0, b"a"),
        (b"a\r\n\n", 3, b""),
        (b"a\r\n", 2, b""),  # a CR before the line is not the line's
    ],
)
def test_a_bare_lf_ends_no_line(buffer: bytes, start: int, shown: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="bare LF") as refused:
        take_line(buffer, start, CRLF)
    assert refused.value.octets == shown


@pytest.mark.parametrize("line_end", [CRLF, LF])
@pytest.mark.parametrize("start", [0, 7])
def test_a_line_may_have_8192_octets_and_no_more(line_end: bytes, start: int) -> None:
    before = b"x" * (start - 1) + b"\n" if start else b""
    longest = b"x" * (LINE_LIMIT - len(line_end))
    assert take_line(before + longest + line_end, start, line_end) == longest
    assert take_line(before + b"x" * (LINE_LIMIT - 1), start, line_end) is None
    for too_long in (b"x" * LINE_LIMIT, b"x" + longest + line_end):
        with pytest.raises(LineTooLong) as refused:
            take_line(before + too_long, start, line_end)
        assert refused.value.octets == too_long[:LINE_LIMIT]  # uncut: a secret in it must be recognised
        assert refused.value.what == "a line is longer than 8192 octets"


# -- status lines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "ok", "text"),
    [
        (b"+OK", True, b""),
        (b"+OK ", True, b""),
        (b"+OK 2 320", True, b"2 320"),
        (b"+OK   several spaces", True, b"several spaces"),
        (b"+OK\ta tab", True, b"a tab"),
        (b"+OK text, behind which spaces stay  ", True, b"text, behind which spaces stay  "),
        (b"+ok in lower case", True, b"in lower case"),
        (b"+Ok", True, b""),
        (b"+OK \x1b[31m\0\xff\r\n8-bit", True, b"\x1b[31m\0\xff\r\n8-bit"),
        (b"-ERR", False, b""),
        (b"-ERR no such message", False, b"no such message"),
        (b"-err", False, b""),
    ],
)
def test_a_status_line_is_an_indicator_and_text(line: bytes, ok: bool, text: bytes) -> None:
    assert parse_status(line) == StatusLine(ok, text)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" +OK",
        b"OK",
        b"+OKAY",
        b"+OK\0",
        b"+OK\r",
        b"+",
        b"+ OK",
        b"+ERR",
        b"-OK",
        b"-ERROR",
        b"-",
        b"2 320",
    ],
)
def test_anything_else_is_not_a_status_line(line: bytes) -> None:
    assert parse_status(line) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[IN-USE] another session", b"IN-USE"),
        (b"[SYS/TEMP]", b"SYS/TEMP"),
        (b"[sys/temp/disk]in lower case", b"sys/temp/disk"),
        (b"[" + b"x" * 64 + b"]", b"x" * 64),
        (b"[" + b"x" * 65 + b"]", None),
        (b"", None),
        (b"[]", None),
        (b"[IN-USE", None),
        (b"[IN USE]", None),
        (b"[IN[USE]", None),
        (b"[\xff]", None),
        (b"[\x1b]", None),
        (b"locked [IN-USE]", None),
    ],
)
def test_a_response_code_is_first_in_the_text(text: bytes, code: bytes | None) -> None:
    assert StatusLine(False, text).code == code


# -- the greeting --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("greeting", "challenge"),
    [
        (b"POP3 ready <1896.697170952@dbc.mtview.ca.us>", b"<1896.697170952@dbc.mtview.ca.us>"),
        (b"<a@b>", b"<a@b>"),
        (b"<a@b> ready", b"<a@b>"),
        (
            b"ready<!#$%&'*+-/=?^_`{|}~;:,.\"\\()[]@[127.0.0.1]>",
            b"<!#$%&'*+-/=?^_`{|}~;:,.\"\\()[]@[127.0.0.1]>",
        ),
        (b"<a@!#$%&'*+-/=?^_`{|}~;:,.\"\\()[]>", b"<a@!#$%&'*+-/=?^_`{|}~;:,.\"\\()[]>"),
        (b"<not one> <a@b> <c@d>", b"<a@b>"),
        (b"<<a@b>>", b"<a@b>"),
        (b"<" + b"l" * 250 + b"@" + b"d" * 250 + b">", b"<" + b"l" * 250 + b"@" + b"d" * 250 + b">"),
    ],
)
def test_a_msg_id_in_the_greeting_is_the_challenge(greeting: bytes, challenge: bytes) -> None:
    assert find_challenge(greeting) == challenge


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"ready",
        b"<>",
        b"<@>",
        b"<ab>",
        b"<a@>",
        b"<@b>",
        b"<a@b@c>",
        b"<a @b>",
        b"<a@b c>",
        b"<a@b",
        b"a@b>",
        b">a@b<",
        b"<a<b@c",
        b"<a@b<c>",
        b"<a>@b>",
        b"<a@b\xe9>",
        b"<\xff\xfe@b>",
        b"<a\0@b>",
        b"<a\x1b@b>",
        b"<a\x7f@b>",
        b"<a\t@b>",
        b"<a\r@b>",
        b"<" + b"l" * 251 + b"@d>",
        b"<l@" + b"d" * 251 + b">",
    ],
)
def test_anything_else_is_not_a_challenge(greeting: bytes) -> None:
    assert find_challenge(greeting) is None


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] ready\r", "it speaks IMAP"),
        (b"* PREAUTH hello", "it speaks IMAP"),
        (b"* BYE too many", "it speaks IMAP"),
        (b"220 mail.example.org ESMTP", "it speaks SMTP or FTP"),
        (b"554 go away", "it speaks SMTP or FTP"),
        (b"421 later", "it speaks SMTP or FTP"),
        (b"HTTP/1.1 400 Bad Request", "it speaks HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "it speaks TLS"),
        (b"\x16\x03\x01", "it speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.2", "its greeting is not +OK"),
        (b"hello \r\n", "its greeting is not +OK"),
        (b"", "its greeting is not +OK"),
    ],
)
def test_another_protocol_is_named(line: bytes, what: str) -> None:
    error = not_pop3(line)
    assert error.what == what
    assert error.speaks == (what.removeprefix("it speaks ") if what.startswith("it speaks ") else "")
    assert error.octets == line.rstrip(b"\r\n")


@pytest.mark.parametrize(
    "octets", [b"", b"+", b"+O", b"+o", b"+OK", b"+OKAY", b"-", b"-E", b"-er", b"-ERR", b"-ERR no\r\n"]
)
def test_what_may_begin_a_greeting_is_not_refused(octets: bytes) -> None:
    refuse_other_protocols(octets)


@pytest.mark.parametrize(
    "octets", [b"*", b"* ", b"* O", b"* PREAUT", b"2", b"22", b"42", b"55", b"H", b"HTTP"]
)
def test_what_may_become_a_protocol_with_a_name_is_not_refused_yet(octets: bytes) -> None:
    refuse_other_protocols(octets)


@pytest.mark.parametrize(
    "octets",
    [b"x", b"\0", b"\n", b"\r", b"+A", b"+OL", b"-X", b"-ERQ", b"* X", b"23", b"220", b"HTTP/", b"\x15"],
)
def test_what_cannot_begin_a_greeting_is_refused_at_once(octets: bytes) -> None:
    with pytest.raises(NotPOP3Server):
        refuse_other_protocols(octets)


@pytest.mark.parametrize(
    ("octets", "protocol"),
    [(b"\x15\x03", "TLS"), (b"\x16\x03", "TLS"), (b"220 x\r\n", "SMTP or FTP"), (b"* OK", "IMAP")],
)
def test_another_protocol_is_recognised(octets: bytes, protocol: str) -> None:
    with pytest.raises(NotPOP3Server) as refused:
        refuse_other_protocols(octets)
    assert refused.value.speaks == protocol


def test_a_line_of_another_protocol_is_shown_without_its_end_only() -> None:
    with pytest.raises(NotPOP3Server) as refused:
        refuse_other_protocols(b"220 X\r\n")
    assert refused.value.octets == b"220 X"


def test_only_the_first_line_of_another_protocol_is_shown() -> None:
    with pytest.raises(NotPOP3Server) as refused:
        refuse_other_protocols(b"220 mail.example.org\r\n250 more\r\n")
    assert refused.value.octets == b"220 mail.example.org"
    with pytest.raises(NotPOP3Server) as refused:
        refuse_other_protocols(b"x" * LINE_LIMIT * 2)
    assert len(refused.value.octets) == LINE_LIMIT


# -- multi-line ends -----------------------------------------------------------------------------

SIZES = st.lists(st.integers(1, 9), min_size=1)
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"", b".", b"..", b".x", b"\r", b"\n", b"\n.", b".\n", b"\n.\n", b".\r", b"\0", b"x."]
        ),
        st.binary(max_size=6),
    )
)


def stuffed(content: bytes, line_end: bytes) -> bytes:
    """Return the octets of a multi-line reply behind its status line, as a server makes them."""
    lines = content.split(line_end)[:-1]
    dotted = (b"." + line if line[:1] == b"." else line for line in lines)
    return b"".join(line + line_end for line in (*dotted, b"."))


def blocks(wire: bytes, line_end: bytes, sizes: list[int]) -> tuple[list[bytes], bytes]:
    """Return the blocks of content that a reader makes of ``wire`` in pieces, and what is left."""
    reader = ContentReader(line_end, 0)
    read, buffer = [], b""
    for piece in in_pieces(wire, sizes):
        buffer = buffer[reader.position :] + piece
        reader.position = 0
        if not reader.ended:
            read.append(reader.read(buffer))
    assert reader.ended
    return read, buffer[reader.position :]


@pytest.mark.parametrize("line_end", [CRLF, LF])
@given(lines=LINES, sizes=SIZES)
def test_what_a_server_stuffed_is_unstuffed(line_end: bytes, lines: list[bytes], sizes: list[int]) -> None:
    content = b"".join(line + line_end for line in lines)
    read, rest = blocks(line_end + stuffed(content, line_end), line_end, sizes)
    assert (b"".join(read), rest) == (content, b"")


@pytest.mark.parametrize("line_end", [CRLF, LF])
@given(lines=LINES, sizes=SIZES)
def test_no_block_parts_a_line_end(line_end: bytes, lines: list[bytes], sizes: list[int]) -> None:
    content = b"".join(line + line_end for line in lines)
    read, _ = blocks(line_end + stuffed(content, line_end), line_end, sizes)
    assert b"".join(block.replace(line_end, b"<end>") for block in read) == content.replace(
        line_end, b"<end>"
    )


@pytest.mark.parametrize("line_end", [CRLF, LF])
@pytest.mark.parametrize("dots", [1, 64, 640])
@pytest.mark.parametrize("last", [b".", b"..", b".x", b"", b"x", b".\r"])
def test_many_lines_with_a_dot_are_unstuffed_together(line_end: bytes, dots: int, last: bytes) -> None:
    content = b"".join(line + line_end for line in [*([b".", b".."] * dots)[:dots], last, b"end"])
    wire = line_end + stuffed(content, line_end)
    for size in (len(wire) + 1, len(wire) - 1, len(wire) // 2, 997):
        read, rest = blocks(wire + b"+", line_end, [size])
        assert (b"".join(read), rest) == (content, b"+")
    cut = wire.removesuffix(b"." + line_end)  # the end may come, or not
    reader = ContentReader(line_end, 0)
    assert reader.read(cut) in (content, content.removesuffix(line_end))
    assert cut[reader.position :] == line_end


@pytest.mark.parametrize("line_end", [CRLF, LF])
def test_no_more_than_four_octets_are_held_back(line_end: bytes) -> None:
    wire = b"".join((line_end, b"..a", line_end, b"b" * 9, b"\r\r\r", b"..", line_end, line_end, b"c"))
    reader, passed = ContentReader(line_end, 0), 0
    for length in range(1, len(wire) + 1):
        passed += len(reader.read(wire[:length]))
        assert length - reader.position <= 4
    assert passed == len(wire) - len(line_end) - 1  # without the status line's end and a stuffed dot


@pytest.mark.parametrize("line_end", [CRLF, LF])
@given(lines=LINES)
def test_each_line_is_passed_on_when_it_is_complete(line_end: bytes, lines: list[bytes]) -> None:
    content = b"".join(line + line_end for line in lines)
    # As a slow server sends them: line by line.
    reader, buffer, read = ContentReader(line_end, 0), line_end, [b""]
    for line in content.split(line_end)[:-1]:
        buffer = buffer[reader.position :] + (b"." if line[:1] == b"." else b"") + line + line_end
        reader.position = 0
        read.append(reader.read(buffer))
        assert read[-1] == line + line_end
    assert b"".join(read) == content


@pytest.mark.parametrize(
    ("wire", "content"),
    [(b"\r\na\r\n.\r\n", b"a\r\n"), (b"\r\na\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"), (b"\r\n.\r\n", b"")],
)
def test_what_follows_the_end_is_left_alone(wire: bytes, content: bytes) -> None:
    reader = ContentReader(CRLF, 3)
    assert reader.read(b"+OK" + wire + b"+OK\r\n..\r\n.\r\n") == content
    assert (reader.ended, reader.position) == (True, 3 + len(wire))


def test_only_a_crlf_becomes_an_lf() -> None:
    assert with_lf(b"a\r\n\r\r\n\n\rb\r") == b"a\n\r\n\n\rb\r"
