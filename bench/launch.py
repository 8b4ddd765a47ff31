"""Run commands at once and print what they took, as a process of its own.

Linux counts the memory of the process that starts a program as the program's own peak. This one is
small (10 MiB, below which peaks cannot be distinguished), whereas the benchmark itself may hold messages of
a gigabyte. It therefore imports nothing of the project and little else.

Standard input: ``{"folder": DIR, "commands": [{"argv": [...], "env": {...}}, ...]}``; standard output:
``{"wall": seconds, "cpu": seconds, "peak": KiB, "statuses": [...]}``. The n-th command's output is
left in ``DIR/stdout-n`` and ``DIR/stderr-n``.
"""

from __future__ import annotations

import json
import os
import sys
import time

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _start(number: int, command: dict[str, object], folder: str) -> int:
    argv, env = command["argv"], command["env"]
    assert isinstance(argv, list) and isinstance(env, dict)
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, f"{folder}/stdout-{number}", WRITE, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, f"{folder}/stderr-{number}", WRITE, 0o600),
    ]
    return os.posix_spawnp(argv[0], argv, env, file_actions=files)


def main() -> None:
    """Start every command, wait for all, and print wall time, CPU time and peak memory (summed)."""
    work = json.load(sys.stdin)
    began = time.perf_counter()
    children = [_start(number, command, work["folder"]) for number, command in enumerate(work["commands"])]
    ends = [os.wait4(child, 0) for child in children]
    wall = time.perf_counter() - began
    report = {
        "wall": wall,
        "cpu": sum(usage.ru_utime + usage.ru_stime for _, _, usage in ends),
        "peak": sum(usage.ru_maxrss for _, _, usage in ends),
        "statuses": [os.waitstatus_to_exitcode(status) for _, status, _ in ends],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
