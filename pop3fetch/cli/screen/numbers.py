"""How numbers are shown to people."""

from __future__ import annotations

UNKNOWN = "?"  # instead of a number that the server does not send
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def counted(messages: int) -> str:
    """Return ``1 message``, ``2 messages``."""
    return "1 message" if messages == 1 else f"{messages} messages"


def human_size(octets: int) -> str:
    """Return a size with three digits at most and a unit."""
    size = float(octets)
    for unit in _UNITS[:-1]:
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"
