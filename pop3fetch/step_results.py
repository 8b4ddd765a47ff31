"""What an examination of an account finds: one result per step."""

from __future__ import annotations

from enum import Enum

from pop3fetch.status import Status
from pop3fetch.values import NamedTuple


class Verdict(Enum):
    """How a step ended: a warning hinders nothing now, an error does."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class StepResult(NamedTuple):
    """The result of a step, as a sentence that also says what to do; ``status``: of an error."""

    step: str
    text: str
    verdict: Verdict = Verdict.OK
    status: Status = Status.OK


def warning(step: str, text: str) -> StepResult:
    """Return the result of a step that works, but not as it should."""
    return StepResult(step, text, Verdict.WARNING)
