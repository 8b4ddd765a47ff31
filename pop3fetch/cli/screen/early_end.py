"""What is added to the line of an error that ends `get` early: how many messages are safe."""

from __future__ import annotations

from collections.abc import Iterable

from pop3fetch.fetch.plan import Standing


def note_what_is_safe(end: BaseException, standings: Iterable[Standing]) -> None:
    """Add a note about the runs that ``end`` has ended, if they had messages to fetch."""
    runs = [standing for standing in standings if standing.wanted]
    safe, wanted = sum(run.safe for run in runs), sum(run.wanted for run in runs)
    everything, s = (f"all {wanted} messages", "") if wanted > 1 else ("the message", "s")
    some = f"{safe} of {wanted} messages {'is' if safe == 1 else 'are'} safe"
    if safe == wanted:
        note = f"{everything} {'is' if s else 'are'} safe"
    elif all(run.others_are_new for run in runs):
        note = f"{some}; the next run fetches the others" if safe else f"the next run fetches {everything}"
    else:
        note = f"{some}; the others stay on the server" if safe else f"{everything} stay{s} on the server"
    if wanted:
        end.add_note(note)
