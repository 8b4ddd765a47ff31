"""What is added to the line of an error that ends `get` early: how many messages are safe."""

from __future__ import annotations

from collections.abc import Iterable

from pop3fetch.fetch.plan import Standing


def note_what_is_safe(end: BaseException, standings: Iterable[Standing]) -> None:
    """Add a note about the runs that ``end`` has ended, if they had messages to fetch."""
    runs = [standing for standing in standings if standing.wanted]
    if runs:
        safe, wanted = sum(run.safe for run in runs), sum(run.wanted for run in runs)
        end.add_note(_sentence(safe, wanted, others_are_new=all(run.others_are_new for run in runs)))


def _sentence(safe: int, wanted: int, *, others_are_new: bool) -> str:
    everything = f"all {wanted} messages" if wanted > 1 else "the message"
    if safe == wanted:
        return f"{everything} {'are' if wanted > 1 else 'is'} safe"
    if safe == 0:
        stay = f"{everything} {'stay' if wanted > 1 else 'stays'} on the server"
        return f"the next run fetches {everything}" if others_are_new else stay
    others = "the next run fetches the others" if others_are_new else "the others stay on the server"
    return f"{safe} of {wanted} messages {'are' if safe > 1 else 'is'} safe; {others}"
