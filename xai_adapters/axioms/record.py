"""The outcome of checking one axiom on one explainer."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from xai_adapters.axioms.cases.case import Case
from xai_adapters.errors import XaiAdaptersError

Status = Literal[
    "kept", "broken", "crashed", "timed out", "not claimed", "not applicable", "expected failure"
]
STATUSES: tuple[Status, ...] = get_args(Status)
_FAILED: tuple[Status, ...] = ("broken", "crashed", "timed out")


class AxiomError(XaiAdaptersError, AssertionError):
    """An explainer broke an axiom that it claims, crashed or hung; the message shows how."""


@dataclass(frozen=True)
class ExpectedFailure:
    """An axiom that an explainer claims and is known to break.

    Args:
        reason: why.
        case: a counterexample. It alone is tried then, so that the check is quick and notices when
            the failure has been mended.
    """

    reason: str
    case: Case | None = None


@dataclass(frozen=True)
class Record:
    """The outcome of one check.

    Attributes:
        explainer: its name.
        axiom: its name.
        status: "kept" (no counterexample was found), "broken", "crashed", "timed out", "not
            claimed", "not applicable", or "expected failure".
        reason: why it was not claimed, not applicable or expected to fail; the error of a crash.
        gap: of the counterexample, or the largest that was seen relative to its tolerance.
        tolerance: what was allowed where that gap was seen.
        expected: what the axiom demands in the counterexample.
        got: what the explainer answered.
        counterexample: code that shows it, of at most ten lines.
        case: the counterexample itself, to be pinned in `ExpectedFailure`.
        examples: cases tried, without those that the explainer refused.
        seconds: how long the check took.
    """

    explainer: str
    axiom: str
    status: Status
    reason: str = ""
    gap: float | None = None
    tolerance: float | None = None
    expected: Any = None
    got: Any = None
    counterexample: str | None = None
    case: Case | None = None
    examples: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the explainer did not do what it claims."""
        return self.status in _FAILED

    def raise_if_failed(self) -> None:
        """Raise an `AxiomError` with the counterexample if the explainer failed."""
        if self.failed:
            raise AxiomError(str(self))

    def __str__(self) -> str:
        """The status, and the counterexample if there is one."""
        head = f"{self.explainer} / {self.axiom}: {self.status}"
        if self.reason:
            head += f" ({self.reason})"
        return f"{head}\n{self.counterexample}" if self.counterexample else head

    def to_dict(self) -> dict[str, Any]:
        """The record in plain values, for JSON; numbers that are not finite become null or text."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain["case"] = repr(self.case) if self.case else None
        for name in ("gap", "tolerance"):
            value = plain[name]
            plain[name] = None if value is None or not math.isfinite(value) else value
        for name in ("expected", "got"):
            plain[name] = _plain(plain[name])
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, type(None))) else str(value)
