"""The ``repr`` of a value that contains a secret: no traceback and no log may show it."""

from __future__ import annotations

from typing import Any


def veiled(value: Any, *secret: str) -> str:
    """Return the ``repr`` of a ``NamedTuple`` without its ``secret`` fields."""
    assert set(secret) <= set(value._fields), secret
    shown = (f"{name}={getattr(value, name)!r}" for name in value._fields if name not in secret)
    return f"{type(value).__name__}({', '.join(shown)})"
