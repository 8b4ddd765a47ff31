"""The package is built as planned: who imports whom, one home for each foreign library, sizes.

A new room, or a module beside the rooms, fails here without a place in these tables: first decide its place.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

import pytest

PACKAGE = Path(__file__).parent.parent / "pop3fetch"

# A room is a module or a folder of them; the other rooms that it imports. This is the map of the house,
# from the ground up. CONTRIBUTING.md draws it.
ROOMS: dict[str, set[str]] = {
    "defaults": set(),
    "printable": set(),
    "quantities": set(),
    "values": set(),
    "tls_policy": set(),
    "status": set(),
    "step_results": {"status", "values"},
    "headers": {"values"},
    "filters": {"headers", "printable", "quantities", "values"},
    "refusal": set(),
    "errors": {"printable", "refusal", "status"},
    "ahead": {"errors"},
    "durable": {"errors"},
    "messages": {"errors", "values"},
    "message_words": {"errors", "messages"},
    "net": {"ahead", "defaults", "errors", "tls_policy", "values"},
    "pop3": {"ahead", "defaults", "errors", "net", "printable", "values"},
    "delivery": {
        "ahead", "defaults", "durable", "errors", "headers", "messages", "net", "pop3",
        "printable", "status", "step_results", "values",
    },
    "record": {"delivery", "durable", "errors", "headers", "messages", "values"},
    "account": {
        "ahead", "defaults", "durable", "errors", "printable", "quantities", "tls_policy", "values",
    },
    "importing": {"account", "defaults", "errors", "values"},
    "sessions": {"account", "ahead", "errors", "net", "pop3", "record", "values"},
    "fetch": {
        "ahead", "delivery", "errors", "filters", "headers", "message_words", "messages", "pop3", "record",
        "status", "values",
    },
    "demo": set(),
    "cli": {
        "__init__", "account", "ahead", "defaults", "delivery", "demo", "durable", "errors", "fetch",
        "filters", "headers", "importing", "message_words", "messages", "net", "pop3", "printable",
        "quantities", "record", "sessions", "status", "step_results", "values",
    },
    "__main__": {"cli"},
    "__init__": {"pop3"},
}  # fmt: skip

# The only modules that may import what is not ours, or reaches the world outside.
HOMES: dict[str, tuple[str, ...]] = {
    "click": ("cli/*",),
    "cryptography": ("net/certificate.py",),
    "dns": ("account/discovery.py",),
    "idna": ("net/dial.py",),
    "keyring": ("account/system_keyring.py",),
    "oauthlib": ("account/oauth/messages.py",),
    "platformdirs": ("durable.py",),
    "python_socks": ("net/proxy.py",),
    "rich": (
        "cli/screen/check.py",
        "cli/screen/console.py",
        "cli/screen/list_table.py",
        "cli/screen/wrapping.py",
    ),
    "scramp": ("pop3/sasl.py",),
    "smtplib": ("delivery/servers/smtp_client.py",),
    "socket": (
        "net/transport.py",
        "net/dial.py",
        "net/proxy.py",
        "net/tunnel.py",
        "demo.py",
        "cli/service_manager.py",
    ),
    "socketserver": ("account/oauth/redirect.py", "demo.py"),
    "sqlite3": ("record/*",),
    "ssl": (
        "account/oauth/http.py",
        "net/certificate.py",
        "net/resumption.py",
        "net/transport.py",
        "net/tls.py",
        "tls_policy.py",
    ),
    "subprocess": (
        "cli/actions/check_cron.py",
        "cli/actions/on_new.py",
        "cli/screen/pager.py",
        "delivery/program.py",
        "importing/jobs.py",
        "account/password_command.py",
        "net/tunnel.py",
    ),
    "tomlkit": ("account/registration.py",),
    "tomllib": ("account/config_file.py",),
    "webencodings": ("headers/charsets.py",),
}

# What is testable without network, clock or disk, and is to stay so.
PURE = {
    "account/oauth/messages.py", "account/oauth/providers.py",
    "defaults.py", "errors.py", "filters.py", "step_results.py",
    "headers/charsets.py", "headers/dates.py", "headers/decoding.py", "headers/fields.py",
    "headers/summary.py",
    "messages.py", "printable.py", "quantities.py", "refusal.py", "values.py",
    "fetch/plan.py",
    "importing/fdm.py", "importing/fdm_statements.py", "importing/fdm_words.py",
    "importing/fetchmail.py", "importing/fetchmail_entries.py", "importing/fetchmail_words.py",
    "importing/foreign.py", "importing/getmail.py", "importing/mpop.py",
    "pop3/login.py", "pop3/machine.py", "pop3/replies.py",
    "pop3/sasl.py", "pop3/trace.py", "pop3/wire.py",
}  # fmt: skip
IMPURE = {
    "io", "os", "pathlib", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl",
    "subprocess", "tempfile", "threading", "time",
}  # fmt: skip

LONGEST_FUNCTION = 60
LONG_FUNCTION = 30  # nine of ten are shorter
MEDIAN_FUNCTION = 10
LONGEST_MODULE = 600
LONG_MODULES = {"errors.py"}  # the tree of the errors, all in one place; its classes are short
MOST_POSITIONAL = 5
MOST_KEYWORDS = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of the package, by its path in it."""

    path: str
    source: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.path.removesuffix(".py").partition("/")[0]

    def imports(self) -> set[str]:
        """Return the full names of all that is imported, types included."""
        return {name for node in ast.walk(self.tree) for name in _imported(node)}

    @cached_property
    def imports_at_run_time(self) -> set[str]:
        """Return the names of the modules, at the top, that are imported not for their types alone."""
        names = {name for node in _at_run_time(self.tree) for name in _imported(node)}
        return {name.partition(".")[0] for name in names}

    def rooms_imported(self) -> set[str]:
        """Return the other rooms that it knows of."""
        names = {name.partition(".")[2] for name in self.imports() if name.startswith("pop3fetch.")}
        rooms = {name.partition(".")[0] for name in names}
        return {room if room in ROOMS else "__init__" for room in rooms} - {self.room}

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    only_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    for child in ast.iter_child_nodes(node) if not only_types else ():
        yield from _at_run_time(child)


def _length(function: Function) -> int:
    """Return how many lines it has from ``def`` to its end, its docstring left out."""
    first, end = function.body[0], function.end_lineno or 0
    docstring = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
    return end - function.lineno + 1 - docstring


def _named(module: Module, function: Function) -> str:
    return f"{module.path}: {function.name}"


def _read() -> list[Module]:
    sources = {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    return [
        Module(path.relative_to(PACKAGE).as_posix(), source, ast.parse(source))
        for path, source in sources.items()
    ]


MODULES = _read()
FUNCTIONS = [(module, function) for module in MODULES for function in module.functions()]


def _inside(module: Module, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(module.path, pattern) for pattern in patterns)


def test_every_module_has_a_room() -> None:
    assert {module.room for module in MODULES} <= ROOMS.keys()


def test_the_rooms_have_an_order() -> None:
    assert list(TopologicalSorter(ROOMS).static_order())  # raises CycleError


def test_contributing_draws_every_room_above_those_that_it_imports() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8").partition("\n## The rooms\n")[2]
    lines = re.findall("^    (?! )(.+)", text.partition("\nA room")[0], re.MULTILINE)
    rooms = [re.split(", ?", line.partition("  ")[0].rstrip("/,")) for line in lines]
    drawn = [room for names in rooms for room in names]
    last = len(rooms) - 2  # the small rooms, which import each other, fill two lines
    depth = {room: min(depth, last) for depth, names in enumerate(rooms) for room in names}
    assert sorted(drawn) == sorted(ROOMS.keys() - {"__init__", "__main__"})
    assert [
        f"{room} imports {other}"
        for room in drawn
        for other in ROOMS[room] - {"__init__"}
        if depth[other] < depth[room] or (depth[other] == depth[room] < last)
    ] == []


def test_rooms_import_only_what_they_may() -> None:
    wrong = {module.path: module.rooms_imported() - ROOMS.get(module.room, set()) for module in MODULES}
    assert {path: rooms for path, rooms in wrong.items() if rooms} == {}


def test_every_permission_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in MODULES:
        used[module.room] |= module.rooms_imported()
    assert used == ROOMS


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {f"pop3fetch.{module.path.removesuffix('.py').replace('/', '.')}": module for module in MODULES}
    imported = {
        name: {part for full in module.imports() for part in (full, full.rpartition(".")[0])} & names.keys()
        for name, module in names.items()
    }
    assert list(TopologicalSorter(imported).static_order())  # raises CycleError


def test_no_import_is_relative() -> None:
    relative = [
        module.path
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_only_at_home(library: str) -> None:
    users = [module for module in MODULES if library in module.imports_at_run_time]
    assert [module.path for module in users if not _inside(module, HOMES[library])] == []


def test_every_home_is_lived_in() -> None:
    empty = {
        f"{library}: {home}"
        for library, homes in HOMES.items()
        for home in homes
        if not any(_inside(module, (home,)) and library in module.imports_at_run_time for module in MODULES)
    }
    assert empty == set()


def test_every_foreign_library_has_a_home() -> None:
    known = {"pop3fetch", *HOMES, *sys.stdlib_module_names}
    foreign = {module.path: module.imports_at_run_time - known for module in MODULES}
    assert {path: libraries for path, libraries in foreign.items() if libraries} == {}


def test_the_pure_modules_reach_nothing_outside() -> None:
    reached = {module.path: module.imports_at_run_time & IMPURE for module in MODULES if module.path in PURE}
    assert {path: libraries for path, libraries in reached.items() if libraries} == {}


def test_the_pure_modules_of_the_protocol_import_no_other_of_it() -> None:
    pure = [module for module in MODULES if module.path in PURE]
    names = {f"pop3fetch.{module.path.removesuffix('.py').replace('/', '.')}" for module in pure}
    protocol = {module.path: _protocol_modules(module) - names for module in pure}
    assert {path: others for path, others in protocol.items() if others} == {}


def _protocol_modules(module: Module) -> set[str]:
    names = (name for name in module.imports() if name.startswith("pop3fetch.pop3."))
    return {".".join(name.split(".")[:3]) for name in names}


def test_only_the_command_line_reads_the_environment() -> None:
    readers = ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.path.expandvars")
    assert _users_of(readers) == []


def test_the_library_names_no_options_and_no_commands() -> None:
    library = [
        module for module in MODULES if module.room in ("pop3", "net", "errors", "messages", "sessions")
    ]
    named = [
        f"{module.path}: {node.value}"
        for module in library
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(r"(?<!-)--[a-z]|`pop3fetch ", node.value) and "\n" not in node.value  # docstrings may
    ]
    assert named == []


def test_only_the_command_line_prints() -> None:
    assert _users_of(("print", "input", "sys.stdin", "sys.stdout", "sys.stderr")) == []


def _users_of(names: tuple[str, ...]) -> list[str]:
    """Return the modules, outside the command line, that call or import one of ``names``."""
    return [
        f"{module.path}:{node.lineno}"
        for module in MODULES
        if module.room != "cli"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Name | ast.Attribute | ast.ImportFrom)
        and (ast.unparse(node) in names or set(_imported(node)) & set(names))
    ]


def test_no_module_is_too_long() -> None:
    lengths = {module.path: module.source.count("\n") for module in MODULES}
    too_long = {path for path, length in lengths.items() if length > LONGEST_MODULE} - LONG_MODULES
    assert too_long == set(), "split it by what changes together; exempt only a list that belongs together"


def test_no_function_is_too_long() -> None:
    lengths = {_named(module, function): _length(function) for module, function in FUNCTIONS}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_most_functions_are_short() -> None:
    lengths = [_length(function) for _, function in FUNCTIONS]
    assert median(lengths) < MEDIAN_FUNCTION
    assert quantiles(lengths, n=10)[-1] < LONG_FUNCTION


def test_no_function_has_too_many_parameters() -> None:
    wrong = []
    for module, function in FUNCTIONS:
        positional = [*function.args.posonlyargs, *function.args.args]
        counted = [parameter for parameter in positional if parameter.arg not in ("self", "cls")]
        if len(counted) > MOST_POSITIONAL or len(function.args.kwonlyargs) > MOST_KEYWORDS:
            wrong.append(_named(module, function))
    assert wrong == ["pop3/client.py: connect"]  # each keyword is a setting of the library
