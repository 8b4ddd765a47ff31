"""The picture in the README, of the real program on a terminal: ``python -m release.picture FILE``."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from pop3fetch.demo import DemoServer
from tests.support.command import RunAt
from tests.support.terminal import Terminal

COLUMNS = 88
MOMENT = "2026-04-09T14:05:00+01:00"
HOME = "/home/alice"  # instead of a temporary folder
STEPS = ("list -l", "get", "get", "rm 1 9", "list --json last")
ANSWERS = {"rm 1 9": ((b"[y/N] ", b"y\n"),)}

ACCOUNT = """\
[accounts.work]
host = "{server.host}"
port = {server.port}
tls = "auto"
user = "{server.user}"
password = "{server.password}"
output = "maildir:Mail"
"""

PROMPT = Style(color="green", bold=True)
FONTS = '"Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace'
_FONT_FILES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_FETCHED_AT = re.compile(r'(?<="fetched_at": ")[^"]+')
_CELL = re.compile(r"\S+(?: \S+)*")


def transcript() -> list[Text]:
    """Run the steps on a terminal, in a home with one account; return the lines as they stand there."""
    with tempfile.TemporaryDirectory() as folder, DemoServer() as server:
        run = RunAt(Path(folder), Path(folder), MOMENT)
        configuration = run.home / ".config/pop3fetch/config.toml"
        configuration.parent.mkdir(parents=True)
        configuration.touch(0o600)
        configuration.write_text(ACCOUNT.format(server=server))
        return [line for step in STEPS for line in _step(Terminal(run), step)]


def _step(terminal: Terminal, step: str) -> Iterator[Text]:
    seen = terminal(*step.split(), columns=COLUMNS, answers=ANSWERS.get(step, ()))
    if seen.status:
        raise RuntimeError(f"{step}: {seen.raw!r}")
    yield Text.assemble(("$ ", PROMPT), (f"pop3fetch {step}", "bold"))
    shown = seen.raw.decode().replace(str(terminal.run.home), HOME)
    shown = _FETCHED_AT.sub("2026-04-09T13:05:00Z", shown)  # the record has a clock of its own
    for line in shown.removesuffix("\r\n").split("\r\n"):  # a lone CR begins a line of progress anew
        # What was drawn anew is gone, but for its last state.
        text = Text.from_ansi(line.rpartition("\r")[2].replace("\x1b[K", ""))
        yield from text.divide(range(COLUMNS, len(text), COLUMNS))
    yield Text()


def svg(lines: list[Text]) -> str:
    """Return the picture of the lines; it loads nothing from anywhere."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, highlight=False)
    console.print(Text("\n").join(_apart(line) for line in lines[:-1]), soft_wrap=True)
    picture = console.export_svg(title="pop3fetch", unique_id="pop3fetch")
    picture = _FONT_FILES.sub("", picture).replace("Fira Code, monospace", FONTS)
    return "".join(line.rstrip() + "\n" for line in picture.splitlines())


def _apart(line: Text) -> Text:
    """Make each cell a piece of its own: text from right to left shall not swap it with its neighbours."""
    line = line.copy()
    for cell in _CELL.finditer(line.plain):
        line.stylize(Style(meta={"cell": cell.start()}), cell.start(), cell.end())
    return line


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(exist_ok=True)
    target.write_text(svg(transcript()), "utf-8")
