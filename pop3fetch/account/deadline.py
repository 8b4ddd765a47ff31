"""A time limit for work that has none of its own, such as a keyring's backend or a name server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def in_time(name: str, work: Callable[[], Answer], limit: float) -> Answer:
    """Return what ``work`` returns, or raises, within ``limit`` seconds; raises TimeoutError after that.

    It runs in a daemon thread called ``name``: one that hangs must not keep the process from its end.
    """
    from concurrent.futures import Future
    from threading import Thread

    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    thread = Thread(target=run, name=name, daemon=True)
    thread.start()
    thread.join(limit)
    if not answer.done():
        raise TimeoutError(f"it did not answer within {limit:g} s")
    return answer.result()
