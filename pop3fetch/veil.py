"""How a value that holds a secret shows itself: a traceback or a log must not tell it."""

from __future__ import annotations

from typing import Any


def veiled(value: Any, *secret: str) -> str:
    """Return the ``repr`` of a ``NamedTuple`` without its ``secret`` fields."""
    assert set(secret) <= set(value._fields), secret
    shown = (f"{name}={getattr(value, name)!r}" for name in value._fields if name not in secret)
    return f"{type(value).__name__}({', '.join(shown)})"
