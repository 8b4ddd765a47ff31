"""How many files a run may hold open: each draft of a batch is one, until the batch is delivered."""

from __future__ import annotations

import resource

WANTED = 8192  # descriptors; more would only be asked for by mistake
ELSEWHERE = 104  # of modules, folders, records, connections, programs and processes of ours
UNDER_WAY = 2  # batches: one is filled while the other is delivered


def room_for_drafts(runs: int, most: int) -> int:
    """Return how many drafts, up to ``most``, may be in a batch where ``runs`` go on side by side.

    Raises the process's own limit as far as it may; systems give 256 (macOS) to 1024 by default.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (soft - ELSEWHERE) // (UNDER_WAY * runs)))
