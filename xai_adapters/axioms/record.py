"""What came of checking one axiom on one explainer."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from xai_adapters.axioms.search.case import Case
from xai_adapters.errors import XaiAdaptersError

Status = Literal[
    "kept", "broken", "not claimed", "not applicable", "crashed", "timed out", "expected failure"
]
FAILED: tuple[Status, ...] = ("broken", "crashed", "timed out")


class AxiomError(XaiAdaptersError, AssertionError):
    """An explainer broke an axiom it claims, crashed or hung; the message is the counterexample."""


@dataclass(frozen=True)
class Record:
    """The outcome of one check.

    Attributes:
        explainer: its name.
        axiom: its name.
        status: "kept" (no counterexample was found), "broken", "not claimed", "not applicable",
            "crashed", "timed out", or "expected failure".
        reason: why it was not claimed, not applicable or expected to fail; the error of a crash.
        gap: of the counterexample, or the largest that was seen relative to its tolerance.
        tolerance: what was allowed where that gap was seen.
        expected: what the axiom demands of the counterexample.
        got: what came out.
        counterexample: code that shows it, of at most ten lines.
        case: the counterexample itself, to be pinned in `ExpectedFailure`.
        examples: cases tried, without those the explainer refused.
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
        return self.status in FAILED

    def raise_if_failed(self) -> None:
        """Raise an `AxiomError` with the counterexample if the explainer failed."""
        if self.failed:
            raise AxiomError(str(self))

    def __str__(self) -> str:
        """What happened, and the counterexample if there is one."""
        head = f"{self.explainer} / {self.axiom}: {self.status}"
        if self.reason:
            head += f" ({self.reason})"
        return f"{head}\n{self.counterexample}" if self.counterexample else head

    def as_dict(self) -> dict[str, Any]:
        """The record in plain values, for JSON; what is not finite is null, or text in a list."""
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
