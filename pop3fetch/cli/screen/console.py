"""The streams of a run, and everything that is printed on them.

Data goes to standard output, everything else to standard error. Foreign text passes
:func:`~pop3fetch.printable.printable` here, for terminals, pipes and traces alike.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from pop3fetch.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console as RichConsole

    from pop3fetch.ahead import Interrupts
    from pop3fetch.cli.log import Log
    from pop3fetch.cli.screen.board import Board
    from pop3fetch.errors import POP3Error

Foreign = bytes | str | int | None
Answer = TypeVar("Answer")

USUAL_WIDTH, USUAL_HEIGHT = 80, 24  # columns and lines, if a terminal does not report them


class Console:
    """Standard output and error; ``verbosity`` is -1 for --quiet, 0, 1 for -v, 2 for -vv.

    ``account`` precedes each line if there are several accounts. ``hushed``, if there is one, takes the lines
    about messages that fail temporarily, instead of standard error. ``clock``: seconds since
    the epoch.
    """

    clock: Callable[[], float] = staticmethod(time.time)

    def __init__(self, out: TextIO, err: TextIO, environment: Mapping[str, str]) -> None:
        self.out = out
        self.err = err
        self.environment = environment
        self.verbosity = 0
        self.account = ""
        self._turn = threading.RLock()
        self._drawn = threading.Event()  # set while there is a line to be redrawn
        self._host: Callable[[Callable[[], Any]], Any] | None = None  # of all talks, if there are threads
        self.interrupts: Interrupts | None = None  # of the threads that work on several accounts
        self.hushed: list[str] | None = None
        self.knows: Callable[[str], bool] | None = None  # whether an error need not be printed again
        self.log: Log | None = None
        self.board: Board | None = None  # of the progress of several accounts
        self.answers: dict[str, str | None] | None = None  # by question, if each is asked once

    @classmethod
    def of_process(cls) -> Console:
        """Return the console of this process."""
        if None in (sys.stdin, sys.stdout, sys.stderr):
            # The next socket would get the descriptor of a closed stream, and be taken for standard output.
            while (descriptor := os.open(os.devnull, os.O_RDONLY)) <= 2:
                pass
            os.close(descriptor)
        console = cls(_forgiving(sys.stdout, 1), _forgiving(sys.stderr, 2), os.environ)
        sys.stdout = sys.stdout or console.out  # on which --help is printed
        return console

    def for_account(
        self, name: str, host: Callable[[Callable[[], Any]], Any], interrupts: Interrupts
    ) -> Console:
        """Return the same console with the name of an account before its lines.

        ``host`` gets all talks with the person at the terminal, and runs them one by one.
        """
        return self._with(account=name, _host=host, interrupts=interrupts)

    def keep_answers(self) -> None:
        """Ask each question once: a process that stays keeps the answers."""
        self.answers = {}

    @property
    def keeps_answers(self) -> bool:
        """Whether the process stays, and asks nothing after the start."""
        return self.answers is not None

    def hushing(self, hushed: list[str]) -> Console:
        """Return the same console, with a list for the lines about messages that fail temporarily."""
        return self._with(hushed=hushed)

    def _with(self, **changes: object) -> Console:
        console = Console(self.out, self.err, self.environment)
        console.__dict__.update({**self.__dict__, **changes})
        return console

    @property
    def account_field(self) -> dict[str, object]:
        """The account in a JSON object, if there are several."""
        return {"account": self.account} if self.account else {}

    @property
    def shows_tables(self) -> bool:
        """Whether standard output is a terminal."""
        return self.out.isatty()

    @property
    def shows_remarks(self) -> bool:
        """Whether standard error is a terminal, and --quiet is not given."""
        return self.err.isatty() and self.verbosity >= 0

    @property
    def shows_details(self) -> bool:
        """Whether a person is at the terminal, or has asked for details with -v."""
        return self.shows_remarks or self.verbosity >= 1

    @property
    def takes_results(self) -> bool:
        """Whether a result is shown, or written to the log."""
        return self.log is not None or self.shows_details

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal that can redraw a line."""
        kind = self.environment.get("TERM", "")
        return self.shows_remarks and not self.account and kind not in ("", "dumb")

    def width(self, stream: TextIO) -> int:
        """Return the columns of the terminal that ``stream`` is."""
        wanted = self.environment.get("COLUMNS", "")
        if wanted.isdecimal() and int(wanted):
            return int(wanted)
        with suppress(OSError, ValueError):
            return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
        return USUAL_WIDTH

    # -- data --------------------------------------------------------------------------------

    def row(self, *cells: Foreign) -> None:
        """Print a line of data, tab-separated; no cell can contain a tab or a line end."""
        if self.account:
            cells = (self.account, *cells)
        texts = (
            str(cell) if isinstance(cell, int) else "" if cell is None else printable(cell, None)
            for cell in cells
        )
        self._print("\t".join(texts))

    def text(self, text: str) -> None:
        """Print a line for people."""
        self._print(f"{self._label}{printable(text, None)}")

    def json(self, value: Mapping[str, object]) -> None:
        """Print one JSON object as a line; escapes in it are JSON's own."""
        import json

        line = json.dumps({**self.account_field, **value})
        if "\\ud" in line:  # perhaps half a surrogate pair, which JSON must not contain
            line = json.dumps(_whole({**self.account_field, **value}))
        self._print(line)

    def _print(self, line: str) -> None:
        self.print_lines(self.out, (line,))

    def print_lines(self, stream: TextIO, lines: Iterable[str]) -> None:
        """Print lines of a table as they come; those of one account among several all at once."""
        for line in ["\n".join(lines)] if self.account else lines:
            with self._turn, output_errors():
                self.wipe()
                stream.write(line + "\n")

    def rich(self, stream: TextIO) -> RichConsole:
        """Return what knows the colours of a terminal; rich loads slowly."""
        from rich.console import Console as RichConsole

        return RichConsole(file=stream)

    # -- everything else ---------------------------------------------------------------------

    def error(self, text: str) -> None:
        """Print a line about a failure; --quiet does not hide it."""
        if self.log:
            self.log("error", self.account, text)
        if self.knows and self.knows(text) and not self.shows_details:
            return
        self._say("pop3fetch: ", text)

    def warn(self, text: str) -> None:
        """Print a line that every user should see."""
        if self.log:
            self.log("warning", self.account, text)
        if self.verbosity >= 0:
            self._say("pop3fetch: ", text)

    def instruct(self, text: str) -> None:
        """Print a line on which the user must act; --quiet does not hide it."""
        self._say("", text)

    def remark(self, text: str) -> None:
        """Print a result: on a terminal, and elsewhere only with -v."""
        if self.shows_remarks:
            if self.log:
                self.log("info", self.account, text)
            self._say("", text)
        else:
            self.notice(text)

    def notice(self, text: str) -> None:
        """Print a line with -v."""
        if self.log:
            self.log("info", self.account, text)
        if self.verbosity >= 1:
            self._say("pop3fetch: ", text)

    def detail(self, text: str) -> None:
        """Print a line with -v that is the same in each run, so that no log has it."""
        if self.verbosity >= 1:
            self._say("pop3fetch: ", text)

    def trace(self, mark: str, octets: bytes) -> None:
        """Print a line of the protocol, for -vv."""
        self._say(f"{mark} ", printable(octets), wraps=False)

    def fail(self, error: POP3Error) -> None:
        """Print the line of an error; with -vv also its causes."""
        from pop3fetch.cli.screen.advice import certificate_block, certificate_error, error_line

        refused = certificate_error(error)
        if refused and refused.certificate and self.err.isatty():
            notes = getattr(error, "__notes__", ())
            self._say("pop3fetch: ", *certificate_block(error, refused), *map("  {}".format, notes))
        else:
            self.error(with_notes(error_line(error), error))
        cause = error.__cause__
        while cause is not None and self.verbosity >= 2:
            self._say("= ", f"caused by {type(cause).__name__}: {cause}")
            cause = cause.__cause__

    def bug(self, error: Exception) -> None:
        """Print a line about an internal error; with -vv also its traceback."""
        self.error(f"internal error: {type(error).__name__}: {error}; please report it")
        if self.verbosity >= 2 or "POP3FETCH_DEBUG" in self.environment:
            import traceback

            for entry in traceback.format_exception(error):
                self.err.writelines(f"{printable(line, None)}\n" for line in entry.splitlines())

    @property
    def _label(self) -> str:
        return f"{printable(self.account)}: " if self.account else ""

    def _say(self, head: str, *lines: str, wraps: bool = True) -> None:
        # Foreign text in a sentence was limited when the sentence was made.
        shown = [printable(line, None) for line in lines]
        shown[0] = f"{head}{self._label}{shown[0]}"
        with self._turn, suppress(OSError, ValueError):
            self.wipe()
            self.err.write("\n".join(map(self.wrapped, shown) if wraps else shown) + "\n")
            self.err.flush()

    def wrapped(self, text: str, *, room: int = 0) -> str:
        """Return a text in lines that fit the terminal; as it is, if standard error is something else.

        ``room``: columns that stay free, for what follows the text.
        """
        if not self.err.isatty():
            return text
        from pop3fetch.cli.screen.wrapping import wrapped

        return wrapped(text, self.width(self.err) - room)

    def draw(self, text: str) -> None:
        """Draw a line that the next line of any kind replaces; it must fit the width."""
        with self._turn, suppress(OSError, ValueError):
            self._drawn.set()  # before it is there: an interrupt must find it
            self.err.write(f"\r{text}\x1b[K")
            self.err.flush()

    def size(self) -> tuple[int, int]:
        """Return the columns and lines of the terminal that standard error is."""
        height = USUAL_HEIGHT
        with suppress(OSError, ValueError):
            height = os.get_terminal_size(self.err.fileno()).lines or USUAL_HEIGHT
        return self.width(self.err), height

    def draw_block(self, lines: Sequence[str]) -> None:
        """Draw lines as :meth:`draw` does one; the cursor stays in the first."""
        with self._turn, suppress(OSError, ValueError):
            self._drawn.set()
            up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            self.err.write("\r\x1b[J" + "\n".join(lines) + up + "\r")
            self.err.flush()

    def draw_waiting(self, text: str) -> None:
        """Show what is waited for, until the next line of any kind."""
        if self.shows_progress:
            self.draw(printable(text, None)[: self.width(self.err) - 1])
        else:
            self.remark(text)

    def wipe(self) -> None:
        """Remove the drawn line."""
        if self._drawn.is_set():
            with self._turn, suppress(OSError, ValueError):
                self._drawn.clear()
                self.err.write("\r\x1b[J" if self.board else "\r\x1b[K")
                self.err.flush()

    # -- the person at the terminal ----------------------------------------------------------

    def talk(self, talk: Callable[[], Answer]) -> Answer:
        """Return what ``talk`` returns: no other thread asks or prints in the meantime."""

        def alone() -> Answer:
            with self._turn:
                self.wipe()
                return talk()

        answer: Answer = self._host(alone) if self._host else alone()
        return answer

    @property
    def can_ask(self) -> bool:
        """Whether there is a terminal to ask on, whatever standard input is."""
        try:
            with self._keyboard() as keyboard:
                return self.err.isatty() and keyboard.isatty()
        except OSError:
            return False

    def confirm(self, question: str) -> bool:
        """Ask a question on the terminal, inside a talk; return whether the answer is yes."""
        answer = ""
        try:
            self.err.write(
                self.wrapped(f"{self._label}{printable(question, None)} [y/N]", room=len(" y")) + " "
            )
            self.err.flush()
            with suppress(OSError, ValueError), self._keyboard() as keyboard:  # if unreadable, no
                answer = keyboard.readline()
        finally:
            if not answer.endswith("\n"):  # Ctrl-D, Ctrl-C: the cursor is still behind the question
                self.err.write("\n")
        return answer.strip().lower() in ("y", "yes")

    @contextmanager
    def _keyboard(self) -> Iterator[TextIO]:
        """Open the keyboard of the terminal; raises OSError without a terminal."""
        if not self.err.isatty() or (sys.stdin is not None and sys.stdin.isatty()):
            yield sys.stdin
        else:
            with open("/dev/tty") as terminal:  # standard input may be a list of messages
                yield terminal

    # -- the end -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write buffered data; raises BrokenPipeError and DeliveryError."""
        with self._turn, output_errors():
            self.out.flush()

    def flush_if_free(self) -> None:
        """Write buffered data, unless another thread writes or asks just now; raises as :meth:`flush`."""
        if self._turn.acquire(blocking=False):
            try:
                self.flush()
            finally:
                self._turn.release()

    def close(self) -> None:
        """Leave nothing to be written at the interpreter's end."""
        for stream in (self.out, self.err):
            try:
                stream.flush()
            except (OSError, ValueError):
                # The reader is gone: the interpreter would complain when it flushes once more.
                with suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def with_notes(line: str, error: BaseException) -> str:
    """Return the line of an error, followed by what was added to the error on its way."""
    notes = getattr(error, "__notes__", ())
    return "; ".join([line.removesuffix(".") if notes else line, *notes])


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn an error of writing to standard output into a DeliveryError, except for a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from pop3fetch.errors import DeliveryError

        raise DeliveryError("standard output", error.strerror or str(error)) from error


def _forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return the stream, made to show escapes for characters that its encoding lacks."""
    if stream is None:
        return open(descriptor, "w", encoding="utf-8")
    with suppress(AttributeError, LookupError, ValueError):
        encoding = sys._xoptions.get("pop3fetch_terminal") if stream.isatty() else None
        stream.reconfigure(encoding=encoding, errors="backslashreplace")  # type: ignore[attr-defined]
    return stream


def _whole(value: Any) -> Any:
    """Return a value for JSON with escapes for lone surrogates, such as octets that are not UTF-8."""
    if isinstance(value, str):
        return "".join(printable(each) if "\ud800" <= each <= "\udfff" else each for each in value)
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list | tuple) else value
