"""How long a check searches, and where a test runner says so for all checks of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypedDict

from xai_adapters.axioms.record import Record
from xai_adapters.axioms.search.processes import CheckPool
from xai_adapters.utils.options import check_number, check_whole_number


class CheckOptions(TypedDict, total=False):
    """The fields of `Settings`, as options of a call."""

    max_examples: int
    timeout: float | None
    budget: float | None
    seed: int


@dataclass(frozen=True)
class Settings:
    """How long a check searches.

    Args:
        max_examples: cases tried for each axiom.
        timeout: seconds after which a check is ended and recorded as "timed out"; None for no
            limit. With a limit, which begins when the explainer is loaded, checks run in another
            process, which takes seconds to start and can
            only be given an explainer that it can import: a function or class of a module, not a
            lambda or a function inside another. Others are checked without a limit, with a warning.
        budget: seconds after which no further case is tried, and an axiom without a counterexample
            counts as kept; None for no limit.
        seed: of the cases; the same seed draws the same cases on every machine.

    Raises:
        InvalidInputError: for a setting of the wrong type or out of range.
    """

    max_examples: int = 100
    timeout: float | None = None
    budget: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_whole_number("max_examples", self.max_examples, at_least=1)
        check_whole_number("seed", self.seed)
        for name in ("timeout", "budget"):
            check_number(name, getattr(self, name), above=0, optional=True)


@dataclass(frozen=True)
class Session:
    """What the checks within `session` share.

    Args:
        defaults: settings of checks that are given none.
        pool: the process for checks with a time limit.
        records: of all checks so far.
    """

    defaults: CheckOptions
    pool: CheckPool | None = None
    records: list[Record] = field(default_factory=list)


_SESSION: ContextVar[Session | None] = ContextVar("session of checks", default=None)


@contextmanager
def session(defaults: CheckOptions, pool: CheckPool | None = None) -> Iterator[Session]:
    """Within it, checks have these defaults, share a pool and are recorded."""
    opened = Session(defaults, pool)
    token = _SESSION.set(opened)
    try:
        yield opened
    finally:
        _SESSION.reset(token)


def current_session() -> Session:
    """The innermost session, or an empty one."""
    return _SESSION.get() or Session({})
