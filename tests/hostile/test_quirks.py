"""Odd but honest servers: they are served, or refused with an error that helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.hostile_servers import (
    APOP,
    ONE,
    PASSWORD,
    THREE,
    TWO,
    Attack,
    cutting,
    hanging_up,
    mailbox,
    saying,
    stalling,
)
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ClientLeft, Script, Talk

ALL = (ONE, TWO, THREE)
PIPELINING = (b"TOP", b"UIDL", b"PIPELINING")
UNPIPELINED = (b"TOP", b"UIDL")


def keep(attack: Attack) -> tuple[str | Path, ...]:
    return ("get", "-o", attack.maildir)


def in_turn(*scripts: Script) -> Script:
    """Return a script that plays another one for each connection, the last one for all further ones."""
    left = list(scripts)

    def script(talk: Talk) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(talk)

    return script


def twice(attack: Attack, script: Script) -> None:
    """Fetch all three messages, and nothing a second time."""
    first = attack(script, command=keep(attack)).succeeds()
    assert first.delivered == list(ALL)
    again = attack(first.server, command=keep(attack)).succeeds()
    assert again.delivered == list(ALL)


# -- pipelining ------------------------------------------------------------------------------


def mixing(served: Mailbox) -> Script:
    """Return WildDuck: the +OK of the second RETR comes before the end of the first message."""

    def first(talk: Talk) -> None:
        talk.say(b"+OK\r\n" + ONE)
        second = talk.line()
        assert second == b"RETR 2\r\n"
        talk.say(b"+OK\r\n.\r\n" + TWO + b".\r\n")

    served.replies[b"RETR 1\r\n"] = b""
    served.after[b"RETR 1\r\n"] = first
    return served


def test_mixed_up_replies_are_asked_for_again_one_at_a_time_from_then_on(attack: Attack) -> None:
    after = attack(in_turn(mixing(mailbox(capabilities=PIPELINING)), mailbox()), command=keep(attack))
    after.succeeds()
    assert after.delivered == list(ALL)
    assert [talk.pipelined for talk in after.talks] == [True, False]
    assert attack(after.server, command=keep(attack)).succeeds().talks[0].pipelined is False


@pytest.mark.parametrize("end", [hanging_up, cutting, stalling])
@pytest.mark.parametrize("point", [b"LIST\r\n", b"UIDL\r\n", b"RETR 1\r\n", b"RETR 2\r\n"])
def test_a_server_that_breaks_when_it_is_pipelined_is_asked_one_at_a_time(
    attack: Attack, point: bytes, end: Script
) -> None:
    broken = mailbox(capabilities=PIPELINING, replies={point: b""}, after={point: end})
    after = attack(in_turn(broken, mailbox()), command=keep(attack))
    after.succeeds()
    assert after.delivered == list(ALL)
    assert [talk.pipelined for talk in after.talks] == [True, False]


def test_a_server_that_loses_what_comes_behind_the_login_is_never_hurried(attack: Attack) -> None:
    after = attack(mailbox(capabilities=PIPELINING)).succeeds()
    login = after.received.index(APOP)
    assert after.received[:login] == b"CAPA\r\n"

    def quick(talk: Talk) -> None:
        assert not talk._unread, "a command came with the login"

    attack(mailbox(capabilities=PIPELINING, after={APOP: quick}), command=keep(attack)).succeeds()


def test_only_what_is_announced_is_pipelined(attack: Attack) -> None:
    assert attack(mailbox(capabilities=UNPIPELINED)).succeeds().talks[0].pipelined is False


def test_no_pipelining_sends_one_command_at_a_time(attack: Attack) -> None:
    after = attack(mailbox(capabilities=PIPELINING), "--no-pipelining").succeeds()
    assert after.talks[0].pipelined is False


# -- capabilities ----------------------------------------------------------------------------


@pytest.mark.parametrize("end", [hanging_up, cutting])
def test_a_server_that_hangs_up_on_capa_is_asked_without(attack: Attack, end: Script) -> None:
    def script(talk: Talk) -> None:
        if len(script_talks) == 0:
            script_talks.append(talk)
            mailbox(replies={b"CAPA\r\n": b""}, after={b"CAPA\r\n": end})(talk)
        else:
            served(talk)

    script_talks: list[Talk] = []
    served = mailbox(capabilities=None, replies={b"CAPA\r\n": b""}, after={b"CAPA\r\n": hanging_up})
    after = attack(script, command=keep(attack)).succeeds()
    assert after.delivered == list(ALL)
    assert b"CAPA" not in bytes(after.talks[1].received)


@pytest.mark.parametrize("command", [("list",), ("stat",), ("caps",), ("rm", "1")])
def test_no_command_needs_capa(attack: Attack, command: Sequence[str]) -> None:
    assert attack(mailbox(capabilities=None), command=command).ended.status == 0


def test_without_capa_uidl_and_top_are_tried(attack: Attack) -> None:
    twice(attack, mailbox(capabilities=None))


def test_capabilities_that_are_sent_after_the_login_count(attack: Attack) -> None:
    def grow(talk: Talk) -> None:
        served.capabilities = PIPELINING

    served = mailbox(capabilities=[b"SASL PLAIN"], after={APOP: grow})
    after = attack(served).succeeds()
    assert after.talks[0].pipelined is True
    assert b"RETR 1\r\nRETR 2\r\nRETR 3\r\n" in after.received


def test_a_capability_may_be_in_any_case_and_have_any_argument(attack: Attack) -> None:
    lines = [
        b"top",
        b"Uidl x y",
        b"pipelining  ",
        b"EXPIRENEVER",
        b"CAPA",
        b"",
        b"IMPLEMENTATION  two  spaces",
    ]
    after = attack(mailbox(capabilities=lines)).succeeds()
    assert after.talks[0].pipelined is True


def test_sasl_without_mechanisms_counts_as_no_sasl(attack: Attack) -> None:
    after = attack(
        saying(b"+OK\r\n", b"+OK\r\nSASL\r\n.\r\n", b"-ERR [AUTH] not here\r\n"),
        "--auth", "plain", "--tls", "off", "--allow-insecure-login",
    )  # fmt: skip
    after.fails(Status.NO_LOGIN, "no SASL mechanism")


def test_nothing_optional_is_asked_that_is_not_offered(attack: Attack) -> None:
    after = attack(mailbox(capabilities=[b"UIDL"]), command=("list", "-l"))
    assert after.ended.status == 0
    assert not {b"TOP", b"UTF8", b"LANG", b"NOOP", b"STAT"} & set(after.verbs)


# -- UIDL and TOP ----------------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [None, (b"TOP",), (b"TOP", b"PIPELINING")])
def test_without_uidl_each_message_comes_once(attack: Attack, capabilities: Sequence[bytes] | None) -> None:
    twice(attack, mailbox(capabilities=capabilities, replies={b"UIDL\r\n": b"-ERR unknown\r\n"}))


def test_without_uidl_and_top_each_message_comes_once(attack: Attack) -> None:
    tops = {b"TOP %d 0\r\n" % number: b"-ERR unknown\r\n" for number in (1, 2, 3)}
    twice(attack, mailbox(capabilities=None, replies={b"UIDL\r\n": b"-ERR unknown\r\n", **tops}))


@pytest.mark.parametrize(
    "top",
    [
        b"+OK\r\n.\r\n",
        b"+OK\r\nSubject: one\r\n.\r\n",
        b"+OK\r\n" + ONE + b".\r\n",
        b"+OK\r\nSubject: one\r\n\r\n\r\n.\r\n",
        b"-ERR no TOP today\r\n",
    ],
)
def test_a_top_that_is_bungled_spoils_no_message(attack: Attack, top: bytes) -> None:
    served = mailbox(replies={b"TOP 1 0\r\n": top, b"UIDL\r\n": b"+OK\r\n1\r\n2 b\r\n3 c\r\n.\r\n"})
    twice(attack, served)


@pytest.mark.parametrize(
    "uid",
    [
        b"u" * 70,
        b"u" * 300,
        b"u" * 5000,
        "ünïcödé-日本".encode(),
        b"\xe4\xf6\xfc",
        b"a;b@c",
        b"two words",
        b".",
    ],
)
def test_unique_ids_may_be_longer_and_odder_than_on_paper(attack: Attack, uid: bytes) -> None:
    served = mailbox([ONE], uids=[uid])
    first = attack(served, command=keep(attack)).succeeds()
    assert first.recorded == {uid}
    assert b"RETR" not in attack(first.server, command=keep(attack)).succeeds().verbs


def test_all_unique_ids_changed_at_once_fetch_nothing_again(attack: Attack) -> None:
    letters = [b"Message-ID: <%d@example.org>\r\n\r\nHello.\r\n" % number for number in range(8)]
    served = mailbox(letters)
    first = attack(served, command=keep(attack)).succeeds()
    served.maildrop = mailbox(letters, uids=[b"new-%d" % number for number in range(8)]).maildrop
    after = attack(first.server, command=keep(attack))
    assert after.ended.status == 0
    assert "changed all unique-ids: 8 of 8" in after.error
    assert b"RETR" not in after.verbs


def test_a_message_that_the_server_writes_headers_into_is_the_same(attack: Attack) -> None:
    letter = b"From: bob\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
    served = mailbox([letter])
    first = attack(served, command=keep(attack)).succeeds()
    served.maildrop = mailbox([b"X-UIDL: uid-1\r\nStatus: RO\r\n" + letter]).maildrop
    after = attack(first.server).succeeds()
    assert b"RETR" not in after.verbs
    assert served.messages == []


def test_a_unique_id_that_is_given_again_names_a_new_message(attack: Attack) -> None:
    served = mailbox([ONE, TWO])
    first = attack(served).succeeds()
    assert served.messages == []
    served.maildrop = mailbox([THREE], uids=[b"uid-1"]).maildrop
    assert attack(first.server).succeeds().delivered == [ONE, TWO, THREE]


def test_renumbering_after_dele_deletes_no_other_message(attack: Attack) -> None:
    after = attack(mailbox(capabilities=UNPIPELINED)).succeeds()
    verbs = after.verbs
    assert not {b"LIST", b"UIDL"} & set(verbs[verbs.index(b"DELE") :])


# -- words -----------------------------------------------------------------------------------


def worded(line: Callable[[bytes, bytes], bytes]) -> Script:
    """Return a server whose status lines are what ``line`` makes of status and text."""

    def script(talk: Talk) -> None:
        say = talk.say

        def reword(octets: bytes) -> None:
            first, end, rest = octets.partition(b"\r\n")
            status, _, text = first.partition(b" ")
            say(line(status, text) + end + rest)

        talk.say = reword  # type: ignore[method-assign]
        mailbox(capabilities=UNPIPELINED)(talk)

    return script


@pytest.mark.parametrize(
    "line",
    [
        lambda status, text: status.lower() + b" " + text,
        lambda status, text: status + b"   " + text,
        lambda status, text: status + b"\t" + text,
        lambda status, text: status + b" " + text + b" and some more words",
        lambda status, text: status + b" " + (text if b"<" in text else b""),
        lambda status, text: status + (b" " + text if b"<" in text else b""),
        lambda status, text: status + b" " + text + b" " * 500,
        lambda status, text: status + b" " + text + " grüße \xff".encode("latin-1"),
    ],
    ids=["lower case", "spaces", "tab", "more words", "no text", "bare", "long", "8-bit"],
)
def test_status_lines_are_read_in_any_form(attack: Attack, line: Callable[[bytes, bytes], bytes]) -> None:
    assert attack(worded(line), command=keep(attack)).succeeds().delivered == list(ALL)


@pytest.mark.parametrize("greeting", [b"+OK\r\n", b"+OK \r\n", b"+ok\r\n"])
def test_a_bare_greeting_is_one(attack: Attack, greeting: bytes) -> None:
    after = attack(
        mailbox(greeting=greeting, capabilities=None), "--allow-insecure-login", command=keep(attack)
    )
    assert after.succeeds().delivered == list(ALL)


def test_a_challenge_in_sasl_may_be_bare(attack: Attack) -> None:
    for prompt in (b"+\r\n", b"+ \r\n"):
        replies = iter([b"+OK\r\n", b"+OK\r\nSASL LOGIN\r\n.\r\n", prompt, prompt, b"-ERR [AUTH] no\r\n"])
        after = attack(saying(*replies), "--auth", "login", "--tls", "off", "--allow-insecure-login")
        after.fails(Status.NO_LOGIN, "[AUTH] no")
        assert len(after.received.splitlines()) == 4


@pytest.mark.parametrize("reply", [b"+OK 5\r\n", b"+OK 3 90 octets, 2 new\r\n", b"+OK  3   90\r\n"])
def test_the_reply_to_stat_may_have_more_words(attack: Attack, reply: bytes) -> None:
    after = attack(mailbox(replies={b"STAT\r\n": reply}), command=("stat",))
    assert after.ended.status == (Status.BAD_DATA if reply == b"+OK 5\r\n" else 0)
    assert attack(mailbox(replies={b"STAT\r\n": reply})).succeeds().delivered == list(ALL)


# -- line ends and ends of messages ----------------------------------------------------------


def with_bare_line_feeds(messages: Sequence[bytes] = ALL) -> Script:
    def script(talk: Talk) -> None:
        say = talk.say
        talk.say = lambda octets: say(octets.replace(b"\r\n", b"\n"))  # type: ignore[method-assign]
        mailbox(messages)(talk)

    return script


def test_a_server_of_bare_line_feeds_is_understood(attack: Attack) -> None:
    after = attack(with_bare_line_feeds(), command=keep(attack)).succeeds()
    assert after.files == [message.replace(b"\r\n", b"\n") for message in ALL]


def test_a_bare_line_feed_ends_no_line_of_an_honest_server(attack: Attack) -> None:
    attack(mailbox(replies={b"LIST\r\n": b"+OK\n1 29\n.\n"})).fails(Status.PROTOCOL, "bare LF").left_alone()


def test_a_final_dot_that_is_missing_at_the_end_names_the_message(attack: Attack) -> None:
    def end(talk: Talk) -> None:
        talk.close()
        raise ClientLeft

    after = attack(
        mailbox(
            replies={b"RETR 2\r\n": b"+OK\r\n" + TWO}, after={b"RETR 2\r\n": end}, capabilities=UNPIPELINED
        )
    )
    after.fails(Status.TRY_LATER, "lost the connection", "RETR 2")
    assert after.delivered == [ONE]


def test_a_final_dot_without_its_line_end_before_names_the_message(attack: Attack) -> None:
    reply = b"+OK\r\nSubject: Exchange\r\n\r\nno last line end.\r\n"
    after = attack(mailbox(replies={b"RETR 2\r\n": reply}, capabilities=UNPIPELINED))
    after.fails(Status.TRY_LATER, "timed out", "RETR 2")
    assert after.delivered == [ONE]


def test_a_message_that_comes_empty_is_skipped(attack: Attack) -> None:
    served = mailbox(replies={b"RETR 2\r\n": b"+OK\r\n.\r\n"})
    attack(served).fails(Status.BAD_DATA, "message 2 stays on the server: it arrived empty")
    assert served.messages == [TWO]


# -- in the middle of a session --------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [UNPIPELINED, PIPELINING])
def test_an_expunged_message_is_skipped(attack: Attack, capabilities: Sequence[bytes]) -> None:
    served = mailbox(replies={b"RETR 2\r\n": b"-ERR Message 2 expunged.\r\n"}, capabilities=capabilities)
    after = attack(served).fails(Status.REFUSED, "message 2 stays on the server", "expunged")
    assert after.delivered == [ONE, THREE]


def test_a_server_that_hangs_up_over_an_expunged_message_costs_nothing(attack: Attack) -> None:
    served = mailbox(
        replies={b"RETR 2\r\n": b"-ERR gone\r\n"}, after={b"RETR 2\r\n": hanging_up}, capabilities=UNPIPELINED
    )
    after = attack(served)
    assert after.ended.status in (Status.REFUSED, Status.TRY_LATER)
    assert after.delivered == [ONE]
    served.replies.clear()
    served.after.clear()
    assert attack(after.server).succeeds().delivered == [ONE, TWO, THREE]


def test_if_messages_expire_at_once_no_quit_follows_a_look(attack: Attack) -> None:
    served = mailbox(capabilities=[*UNPIPELINED, b"EXPIRE 0"])
    after = attack(served, command=("get", "-o", "-", "1"))
    assert after.ended.status == 0
    assert b"QUIT" not in after.received


def test_if_messages_expire_at_once_no_quit_follows_a_failed_delivery(attack: Attack) -> None:
    served = mailbox(capabilities=[*UNPIPELINED, b"EXPIRE 0"])
    attack(served, "--exec", "false", command=("get",))
    after = attack(served, "--exec", "false", command=("get",))
    assert after.ended.status == Status.CANNOT_DELIVER
    assert b"QUIT" not in after.received


def test_a_download_limit_ends_the_run_with_what_has_arrived(attack: Attack) -> None:
    refusals = {b"RETR %d\r\n" % number: b"-ERR [SYS/TEMP] Download exceed\r\n" for number in (2, 3)}
    after = attack(mailbox(replies=refusals))
    assert after.ended.status == Status.TRY_LATER
    assert after.delivered == [ONE]


# -- login -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (b"-ERR\r\n", Status.NO_LOGIN),
        (b"-ERR Login failed.\r\n", Status.NO_LOGIN),
        (b"-ERR failed: Re-Authentication Failure\r\n", Status.NO_LOGIN),
        (b"-ERR [AUTH] no\r\n", Status.NO_LOGIN),
        (b"-ERR [auth/x] no\r\n", Status.NO_LOGIN),
        (b"-ERR [IN-USE] Mailbox in use\r\n", Status.TRY_LATER),
        (b"-ERR [in-use] x\r\n", Status.TRY_LATER),
        (b"-ERR [LOGIN-DELAY] x\r\n", Status.TRY_LATER),
        (b"-ERR [SYS/TEMP/x] x\r\n", Status.TRY_LATER),
        (b"-ERR [SYS/PERM] not enabled for POP access\r\n", Status.NO_LOGIN),
        (b"-ERR [XYZ] x\r\n", Status.NO_LOGIN),
        (b"+ERR no\r\n", Status.PROTOCOL),
    ],
)
@pytest.mark.parametrize("then", [None, hanging_up])
def test_a_refused_login_shows_whether_to_try_again(
    attack: Attack, refusal: bytes, status: Status, then: Script | None
) -> None:
    after = attack(mailbox(replies={APOP: refusal}, after={APOP: then} if then else {}))
    after.fails(status).left_alone()
    assert after.verbs.count(b"APOP") == 1


def test_a_greeting_that_refuses_for_now_is_for_later(attack: Attack) -> None:
    attack(saying(b"-ERR [SYS/TEMP] overloaded\r\n")).fails(Status.TRY_LATER, "overloaded").told_nothing()


def test_a_login_delay_may_answer_user_already(attack: Attack) -> None:
    after = attack(saying(b"+OK\r\n", b"-ERR\r\n", b"-ERR [LOGIN-DELAY] wait\r\n"), "--allow-insecure-login")
    after.fails(Status.TRY_LATER, "wait")
    assert PASSWORD.encode() not in after.received


def test_if_apop_is_refused_stls_is_next(attack: Attack, ca_file: Path) -> None:
    served = mailbox(
        capabilities=[*UNPIPELINED, b"STLS", b"SASL PLAIN"], replies={APOP: b"-ERR no APOP secret\r\n"}
    )
    after = attack(served, "--ca-file", ca_file, command=keep(attack)).succeeds()
    assert after.delivered == list(ALL)
    assert after.verbs.index(b"STLS") > after.verbs.index(b"APOP")
    assert PASSWORD.encode() not in b"".join(after.talks[0].commands[: after.commands.index(b"STLS\r\n")])


def test_a_login_that_is_answered_late_is_waited_for(attack: Attack) -> None:
    def later(talk: Talk) -> None:
        talk._stopping.wait(0.2)
        talk.say(b"-ERR wrong\r\n")

    after = attack(mailbox(replies={APOP: b""}, after={APOP: later}))
    after.fails(Status.NO_LOGIN, "wrong")


def test_utf8_is_sent_if_it_is_requested_and_offered(attack: Attack) -> None:
    def serve(talk: Talk) -> None:
        mailbox(capabilities=[*UNPIPELINED, b"UTF8 USER"], replies={b"UTF8\r\n": b"+OK\r\n"})(talk)

    assert b"UTF8" in attack(serve, "--utf8").succeeds().verbs
    assert b"UTF8" not in attack(mailbox(capabilities=[*UNPIPELINED]), "--utf8").succeeds().verbs


def test_a_farewell_of_an_idle_server_is_reported(attack: Attack) -> None:
    def sleep(talk: Talk) -> None:
        talk.say(b"-ERR Disconnected for inactivity.\r\n")
        talk.close()

    after = attack(mailbox([ONE], after={b"RETR 1\r\n": sleep}, capabilities=UNPIPELINED))
    after.fails(Status.TRY_LATER, "Disconnected for inactivity")
    assert after.delivered == [ONE]
