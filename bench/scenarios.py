"""The scenarios: what is done, by whom, and how much of whose time it may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from bench import contenders, mail
from bench.contenders import CLICK, DRAIN, IMPORTS, LIST, ONE_BY_ONE, VERSION, Contender
from bench.mail import Post
from bench.measure import RunFailed
from bench.peers import Errand
from bench.server import Server

ACCOUNTS = tuple(f"account{number:02}" for number in range(1, 21))
USERS = ("small", "mixed", "huge", "few", "crowd", "thousand", "parting", *ACCOUNTS)
MIB = 1 << 20
RIVAL = "P"


@dataclass(frozen=True, slots=True)
class Bound:
    """What we are allowed: ``at_most`` times the wall time of ``against``, or so many octets of memory.

    ``against`` is the fastest rival, or the contender of this name; None bounds the peak of memory. ``cpu``:
    of the CPU time.
    """

    at_most: float
    against: str | None = RIVAL
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """What every contender does, and what must be there afterwards.

    Each of ``users`` has ``count`` messages; ``post`` is what must have been delivered from each.
    If ``refill`` names a maildrop, the messages are to be deleted, and come from there anew before
    each run. If it ``remembers``, all messages are known to each program beforehand, and so is the server; if
    ``known``, only the server. ``runs`` per round.
    """

    title: str
    contenders: tuple[Contender, ...]
    bounds: tuple[Bound, ...]
    users: tuple[str, ...] = ()
    count: int = 0
    post: Post | None = None
    check: Callable[[Errand], None] | None = None
    refill: str | None = None
    far: bool = False
    remembers: bool = False
    known: bool = False
    runs: int = 1


class Stage:
    """The server with its maildrops filled, each when it is first needed."""

    def __init__(self, server: Server, divisor: int = 1) -> None:
        """Make everything ``divisor`` times smaller than it should be."""
        self.server = server
        self.divisor = divisor

    def small(self) -> Post:
        """Return 10 000 messages of 4 KB."""
        return self._filled("small", mail.of_size(10_000 // self.divisor, 4096))

    def few(self) -> Post:
        """Return 200 messages of 4 KB."""
        return self._filled("few", mail.of_size(200 // self.divisor, 4096))

    def mixed(self) -> Post:
        """Return 2000 messages of mixed size."""
        return self._filled("mixed", mail.of_mixed_sizes(2000 // self.divisor))

    def huge(self) -> Post:
        """Return one message of 1 GiB."""
        return self._filled("huge", mail.of_size(1, 1024 * MIB // self.divisor))

    def crowd(self) -> int:
        """Fill a maildrop with 100 000 messages and return their number."""
        self.few()
        self.server.refill("crowd", "few", 100_000 // self.divisor)
        return 100_000 // self.divisor

    def accounts(self) -> tuple[tuple[str, ...], Post]:
        """Return twenty users, and the 40 messages of 4 KB that each of them has."""
        users = ACCOUNTS[: max(2, len(ACCOUNTS) // self.divisor)]
        posts = [self._filled(user, mail.of_size(40, 4096)) for user in users]
        return users, posts[0]

    def _filled(self, user: str, messages: Iterator[bytes]) -> Post:
        kept = list(messages)
        if not self.server.count(user):
            self.server.deliver(user, kept)
        return Post.of(kept)


def _keep(stage: Stage) -> Scenario:
    post = stage.small()
    return Scenario(
        f"{len(post)} messages of 4 KB, kept on the server, loopback",
        (*contenders.fetchers(), contenders.drain(), contenders.write(post)),
        (Bound(0.5),),
        ("small",),
        len(post),
        post,
    )


def _delete(stage: Stage) -> Scenario:
    return _deleting(_keep(stage), Bound(0.5))


def _mixed(stage: Stage) -> Scenario:
    post = stage.mixed()
    return Scenario(
        f"{len(post)} messages of mixed size, {sum(post.sizes) / MIB:.0f} MiB in all, loopback",
        (*contenders.fetchers(), contenders.drain(), contenders.write(post)),
        (Bound(0.65),),
        ("mixed",),
        len(post),
        post,
    )


def _huge(stage: Stage) -> Scenario:
    post = stage.huge()
    return Scenario(
        f"one message of {post.sizes[0] / MIB:.0f} MiB, loopback",
        (*map(_unless_greedy, contenders.fetchers()), contenders.drain(), contenders.write(post)),
        (Bound(1.0), Bound(1.25, DRAIN), Bound(48 * MIB, None)),
        ("huge",),
        len(post),
        post,
    )


def _far_keep(stage: Stage) -> Scenario:
    post = stage.few()
    return Scenario(
        f"{len(post)} messages of 4 KB, kept on the server, round trip 50 ms",
        (*contenders.fetchers(), contenders.drain()),
        (Bound(0.6),),
        ("few",),
        len(post),
        post,
        far=True,
    )


def _lmtp(stage: Stage) -> Scenario:
    count, target = len(stage.small()), stage.server.target()
    return Scenario(
        f"{count} messages of 4 KB to an LMTP server, loopback",
        contenders.to_lmtp(target.lmtp_port, target.user),
        (Bound(1.0),),
        ("small",),
        count,
        check=lambda errand: _all_have_arrived(stage, count),
    )


def _far_imap(stage: Stage) -> Scenario:
    count, target = len(stage.few()), stage.server.target()
    where = (target.far_imaps_port, target.user, target.password, target.ca_file)
    return Scenario(
        f"{count} messages of 4 KB to an IMAP server, round trip 50 ms",
        contenders.to_imap(*where),
        (Bound(0.15, ONE_BY_ONE),),
        ("few",),
        count,
        check=lambda errand: _all_have_arrived(stage, count),
        far=True,
    )


def _all_have_arrived(stage: Stage, count: int) -> None:
    if (arrived := stage.server.target().take_all()) != count:
        raise RunFailed(f"{arrived} of {count} messages have arrived")


def _far_delete(stage: Stage) -> Scenario:
    return _deleting(_far_keep(stage), Bound(0.4))


def _nothing_new(stage: Stage) -> Scenario:
    count = stage.crowd()
    return Scenario(
        f"nothing new among {count} messages, loopback",
        contenders.able_to(lambda program: program.get),
        (Bound(1.5), Bound(80 * MIB, None)),
        ("crowd",),
        count,
        Post.of(()),
        remembers=True,
    )


def _far_stat(stage: Stage) -> Scenario:
    return Scenario(
        "number and octets of the messages (`stat`), round trip 50 ms",
        contenders.able_to(lambda program: program.stat),
        (Bound(1.0),),
        ("few",),
        len(stage.few()),
        check=_says_count,
        far=True,
    )


def _near_stat(stage: Stage) -> Scenario:
    return Scenario(
        "number and octets of the messages (`stat`), loopback, CPU time",
        contenders.counters(),
        (Bound(1.25, IMPORTS, cpu=True),),
        ("few",),
        len(stage.few()),
        check=_says_count,
        known=True,
        runs=5,
    )


def _known_nothing_new(stage: Stage) -> Scenario:
    stage.few()
    count = 1000 // stage.divisor
    stage.server.refill("thousand", "few", count)
    return Scenario(
        f"nothing new among {count} messages, round trip 50 ms, known server",
        contenders.able_to(lambda program: program.get),
        (Bound(0.6),),
        ("thousand",),
        count,
        Post.of(()),
        far=True,
        remembers=True,
    )


def _near_keep(stage: Stage) -> Scenario:
    far = _far_keep(stage)
    return replace(
        far,
        title=f"{far.count} messages of 4 KB, kept on the server, loopback",
        bounds=(Bound(0.9),),
        far=False,
        runs=3,
    )


def _known(scenario: Callable[[Stage], Scenario], *bounds: Bound) -> Callable[[Stage], Scenario]:
    """Return the same at a server that was met before."""

    def known(stage: Stage) -> Scenario:
        first = scenario(stage)
        return replace(first, title=f"{first.title}, known server", bounds=bounds, known=True)

    return known


def _list(stage: Stage) -> Scenario:
    count = len(stage.small())
    return Scenario(
        f"sizes, UIDs, dates, senders and subjects of {count} messages (`list -l`), loopback",
        contenders.able_to(lambda program: program.list_long),
        (Bound(0.3),),
        ("small",),
        count,
        check=_lists_all,
    )


def _far_list(stage: Stage) -> Scenario:
    count = len(stage.few())
    return Scenario(
        f"sizes, UIDs, dates, senders and subjects of {count} messages (`list -l`), round trip 50 ms",
        contenders.able_to(lambda program: program.list_long),
        (Bound(0.08),),
        ("few",),
        count,
        check=_lists_all,
        far=True,
    )


def _far_rm(stage: Stage) -> Scenario:
    stage.few()
    count = 20_000 // stage.divisor
    return Scenario(
        f"{count} messages deleted by their dates (`rm --before 30d`), round trip 50 ms",
        contenders.removers(),
        (Bound(1.3, LIST),),
        ("parting",),
        count,
        Post.of(()),
        refill="few",
        far=True,
    )


def _accounts(stage: Stage) -> Scenario:
    users, post = stage.accounts()
    return Scenario(
        f"{len(users)} accounts of {len(post)} messages of 4 KB, round trip 50 ms",
        contenders.fetchers_of_accounts(len(users)),
        (Bound(1.0),),
        users,
        len(post),
        post,
        far=True,
    )


def _start_up(option: str) -> Callable[[Stage], Scenario]:
    def scenario(stage: Stage) -> Scenario:
        return Scenario(f"`{option}`", contenders.starters(option), (Bound(1.1, CLICK),), runs=10)

    return scenario


def _completion(stage: Stage) -> Scenario:
    return Scenario(
        "the options that begin with `get --de`, for a shell",
        contenders.completer(),
        (Bound(1.3, VERSION),),
        runs=10,
    )


SCENARIOS: dict[str, Callable[[Stage], Scenario]] = {
    "keep": _keep,
    "delete": _delete,
    "mixed": _mixed,
    "huge": _huge,
    "near-keep": _near_keep,
    "far-keep": _far_keep,
    "known-keep": _known(_far_keep, Bound(0.5)),
    "far-delete": _far_delete,
    "known-delete": _known(_far_delete, Bound(0.45)),
    "lmtp": _lmtp,
    "far-imap": _far_imap,
    "nothing-new": _nothing_new,
    "known-nothing-new": _known_nothing_new,
    "near-stat": _near_stat,
    "far-stat": _far_stat,
    "known-stat": _known(_far_stat, Bound(0.6)),
    "list": _list,
    "far-list": _far_list,
    "known-list": _known(_far_list, Bound(0.035)),
    "far-rm": _far_rm,
    "accounts": _accounts,
    "known-accounts": _known(_accounts, Bound(0.8)),
    "version": _start_up("--version"),
    "help": _start_up("--help"),
    "completion": _completion,
}


def _deleting(keep: Scenario, bound: Bound) -> Scenario:
    title = keep.title.replace("kept on", "deleted from")
    return replace(keep, title=title, bounds=(bound,), users=("parting",), refill=keep.users[0])


def _unless_greedy(contender: Contender) -> Contender:
    if contender.name != "getmail6":
        return contender
    return replace(contender, absent="not run: holds ten times the message in memory")


def _says_count(errand: Errand) -> None:
    said = errand.output("stdout") + errand.output("stderr")
    if str(errand.count) not in said:
        raise RunFailed(f"does not say that there are {errand.count} messages")


def _lists_all(errand: Errand) -> None:
    subjects = sum("message " in line for line in errand.output("stdout").splitlines())
    if subjects != errand.count:
        raise RunFailed(f"shows {subjects} of {errand.count} subjects")
