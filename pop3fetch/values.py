"""Values with names that never change: the program's own NamedTuple, and a ``repr`` without secrets."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Definition(type):
        """Turn each class that is based on NamedTuple into what ``typing.NamedTuple`` would make of it.

        That one also compiles each annotation, which takes as long again, and nothing here reads them. There
        are forty such classes in the benchmark row ``near-stat``: a twentieth of its instructions.
        """

        def __new__(cls, name: str, bases: tuple[type, ...], members: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, members)
            fields = members.pop("__annotations__", {})
            defaults = [members.pop(field) for field in fields if field in members]
            made = namedtuple(name, fields, defaults=defaults, module=members.pop("__module__"))
            for member, value in members.items():
                setattr(made, member, value)
            return made

    class NamedTuple(metaclass=_Definition):
        """The base of values with names: see :class:`typing.NamedTuple`."""


def veiled(value: Any, *secret: str) -> str:
    """Return the ``repr`` of a ``NamedTuple`` without its ``secret`` fields: no traceback may show them."""
    assert set(secret) <= set(value._fields), secret
    shown = (f"{name}={getattr(value, name)!r}" for name in value._fields if name not in secret)
    return f"{type(value).__name__}({', '.join(shown)})"


def without_login(proxy: str, instead: str = "") -> str:
    """Return a proxy's URL as it may be shown, with ``instead`` in place of user name, password and ``@``."""
    scheme, mark, rest = proxy.partition("://") if "://" in proxy else ("", "", proxy)
    _login, at, place = rest.rpartition("@")
    return f"{scheme}{mark}{instead if at else ''}{place}"
