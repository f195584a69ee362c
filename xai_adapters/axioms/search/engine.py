"""Search for a counterexample to one axiom, and record what came of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, Verbosity, given
from hypothesis import seed as hypothesis_seed
from hypothesis import settings as hypothesis_settings

from xai_adapters.axioms.answers.trial import Trial
from xai_adapters.axioms.axiom import AXIOMS, Axiom, Finding
from xai_adapters.axioms.axiom import axiom as axiom_called
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.record import AxiomError, Record
from xai_adapters.axioms.search.case import Case
from xai_adapters.axioms.search.counterexample import counterexample, one_line
from xai_adapters.axioms.search.time_limit import TimedOutError, within
from xai_adapters.errors import (
    ConstantPredictorError,
    InvalidInputError,
    MissingDependencyError,
    NotApplicableError,
)
from xai_adapters.model.random_state import is_left_behind, seeded

# Beyond this a counterexample is small enough.
_SHRINK_SECONDS = 3.0
# So few cases are tried whatever the budget says; the first that hypothesis draws is the plainest.
_LEAST_EXAMPLES = 3
_REFUSALS = (NotApplicableError, MissingDependencyError, ConstantPredictorError)


@dataclass(frozen=True)
class Settings:
    """How long a check searches.

    Args:
        max_examples: cases tried for each axiom.
        timeout: seconds after which a check is ended and recorded as "timed out"; None for none.
        budget: seconds after which no further case is tried, and what was not found counts as
            kept; None for none.
        seed: of what is drawn; the same seed draws the same cases on every machine.
    """

    max_examples: int = 100
    timeout: float | None = 60.0
    budget: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.max_examples < 1:
            raise InvalidInputError(f"max_examples must be at least 1; it is {self.max_examples}")
        for name in ("timeout", "budget"):
            seconds = getattr(self, name)
            if seconds is not None and seconds <= 0:
                raise InvalidInputError(f"{name} must be positive, or None; it is {seconds}")


# What a test runner says about the checks in a test: their settings, and where records go.
_IN_USE: ContextVar[tuple[Mapping[str, Any], list[Record]] | None] = ContextVar(
    "checks in use", default=None
)


@contextmanager
def settings_in_use(settings: Mapping[str, Any]) -> Iterator[list[Record]]:
    """Within it, checks follow these settings where they are given none, and are recorded."""
    records: list[Record] = []
    token = _IN_USE.set((settings, records))
    try:
        yield records
    finally:
        _IN_USE.reset(token)


@dataclass(frozen=True)
class ExpectedFailure:
    """An axiom that an explainer claims and is known to break.

    Args:
        reason: why.
        case: the counterexample; if it is given it alone is tried, so that the check is quick and
            tells when the failure is mended.
    """

    reason: str
    case: Case | None = None


def measure(axiom: str | Axiom, explainer: Explainer, case: Case) -> Finding:
    """How far an explainer is from keeping an axiom in one case; whatever it raises is passed on.

    Args:
        axiom: the axiom, or its name.
        explainer: made by `explainer` or `registered`.
        case: networks and rows, such as a counterexample's.
    """
    chosen = axiom_called(axiom) if isinstance(axiom, str) else axiom
    # Alike each time, so that a case has one outcome.
    with seeded(0), warnings.catch_warnings():
        # Hosts warn about what they do to a model; this one is made for the occasion.
        warnings.simplefilter("ignore")
        return chosen.measure(Trial(chosen, explainer, case))


def check_explainer(
    explainer: Explainer,
    axioms: Sequence[str | Axiom] | None = None,
    on_fail: Literal["raise", "warn"] | None = "raise",
    *,
    expected_failures: Mapping[str, str | ExpectedFailure] | None = None,
    **settings: Any,
) -> list[Record]:
    """Check an explainer against what it claims.

    Args:
        explainer: made by `explainer` or `registered`.
        axioms: which to look at; all by default. Those it does not claim are recorded as such.
        on_fail: "raise" an `AxiomError` with all counterexamples when all are checked, "warn" of
            each, or None to look at the records alone.
        expected_failures: by axiom the reason why the explainer breaks it, or an
            `ExpectedFailure`. A name that matches nothing is warned about.
        **settings: those of `Settings`: `max_examples`, `timeout`, `budget`, `seed`.

    Returns:
        A record for each axiom, in their order.

    Raises:
        AxiomError: with `on_fail="raise"`, if an axiom is broken, or the explainer crashes or
            hangs.
        UnknownNameError: for an axiom that does not exist.
    """
    if on_fail not in ("raise", "warn", None):
        raise InvalidInputError(f"on_fail must be 'raise', 'warn' or None; it is {on_fail!r}")
    expected = dict(expected_failures or {})
    chosen = [
        axiom_called(each) if isinstance(each, str) else each
        for each in (AXIOMS if axioms is None else axioms)
    ]
    for name in set(expected) - set(AXIOMS):
        warnings.warn(f"expected_failures names no axiom: '{name}'", stacklevel=2)
    records = [
        check_axiom(each, explainer, expected_failure=expected.get(each.name), **settings)
        for each in chosen
    ]
    failed = [record for record in records if record.failed]
    if on_fail == "raise" and failed:
        raise AxiomError("\n\n".join(str(record) for record in failed))
    if on_fail == "warn":
        for record in failed:
            warnings.warn(str(record), stacklevel=2)
    return records


def check_axiom(
    axiom: Axiom,
    explainer: Explainer,
    *,
    expected_failure: str | ExpectedFailure | None = None,
    **settings: Any,
) -> Record:
    """Check one axiom on one explainer; the arguments are those of `check_explainer`."""
    given, records = _IN_USE.get() or ({}, [])
    record = _checked(axiom, explainer, expected_failure, Settings(**{**given, **settings}))
    records.append(record)
    return record


def _checked(
    axiom: Axiom,
    explainer: Explainer,
    expected: str | ExpectedFailure | None,
    settings: Settings,
) -> Record:
    if isinstance(expected, str):
        expected = ExpectedFailure(expected)
    claim = explainer.claims.get(axiom.name, "it makes no such claim")
    if isinstance(claim, str):
        return Record(explainer.name, axiom.name, "not claimed", claim)
    search = _Search(axiom, explainer, settings.budget)
    pinned = expected.case if expected else None
    enough = min(settings.max_examples, axiom.max_examples or settings.max_examples)
    start = time.perf_counter()
    with seeded(None):
        try:
            if pinned:
                within(settings.timeout, partial(search.run_one, pinned))
            else:
                within(settings.timeout, partial(search.run, enough, settings.seed))
        except TimedOutError as error:
            search.timed_out = str(error)
    return search.record(time.perf_counter() - start, expected)


class _Enough(BaseException):
    """Ends hypothesis' search; not an Exception, which it would take for a counterexample."""


class _BrokenError(Exception):
    """What hypothesis sees of a broken promise."""


class _CrashedError(Exception):
    """What hypothesis sees of a crash: another matter, behind which it goes on searching."""


class _Search:
    """Cases tried so far, and the smallest counterexample among them."""

    def __init__(self, axiom: Axiom, explainer: Explainer, budget: float | None) -> None:
        self.axiom, self.explainer, self.budget = axiom, explainer, budget
        self.tried = 0
        self.refused = 0
        self.refusal = self.timed_out = self.trouble = ""
        self.nearest: Finding | None = None
        self.found: tuple[Case, Finding | Exception] | None = None
        self.started, self.failed_at = time.perf_counter(), 0.0

    def run(self, max_examples: int, seed: int) -> None:
        """Try the classics of the domain, then what hypothesis draws."""
        for case in self.axiom.classics:
            networks = [case.network] + ([case.other] if case.other else [])
            if all(self.explainer.domain.admits(network) for network in networks):
                self.run_one(case)
                if self.found:
                    return

        def attempt(case: Case) -> None:
            self._check_time()
            outcome = self._outcome(case)
            if isinstance(outcome, Finding):
                raise _BrokenError
            if outcome is not None:
                raise _CrashedError

        strategy = self.axiom.cases(self.explainer.domain)
        try:
            _search_settings(max_examples)(hypothesis_seed(seed)(given(strategy)(attempt)))()
        except (_Enough, _BrokenError, _CrashedError):
            pass
        except Exception as error:
            # An explainer that answers differently each time upsets hypothesis, not us; anything
            # else is a mistake of the axiom, and the other axioms are still to be checked.
            self.trouble = one_line(error)

    def run_one(self, case: Case) -> None:
        """Try one case."""
        self._outcome(case)

    def record(self, seconds: float, expected: ExpectedFailure | None) -> Record:
        """What came of it."""
        names = self.explainer.name, self.axiom.name
        told: dict[str, Any] = {"examples": self.tried, "seconds": seconds}
        if self.found:
            case, outcome = self.found
            told["counterexample"] = counterexample(self.axiom, self.explainer, case, outcome)
            told["case"] = case
            if isinstance(outcome, Finding):
                told |= _finding(outcome)
                if expected is None:
                    return Record(*names, "broken", **told)
            elif expected is None:
                return Record(*names, "crashed", one_line(outcome), **told)
            return Record(*names, "expected failure", expected.reason, **told)
        if self.timed_out:
            return Record(*names, "timed out", self.timed_out, **told)
        if self.trouble:
            return Record(*names, "crashed", f"the search itself: {self.trouble}", **told)
        if self.tried == 0 and self.refusal:
            return Record(*names, "not applicable", self.refusal, **told)
        if self.nearest:
            told |= _finding(self.nearest)
        reason = f"was expected to fail: {expected.reason}" if expected else ""
        return Record(*names, "kept", reason, **told)

    def _check_time(self) -> None:
        # What was raised to end it may have been swallowed, by a callback of hypothesis for one.
        if is_left_behind():
            raise _Enough
        now = time.perf_counter()
        if self.found and now - self.failed_at > _SHRINK_SECONDS:
            raise _Enough
        late = self.budget is not None and now - self.started > self.budget
        if not self.found and late and self.tried + self.refused >= _LEAST_EXAMPLES:
            raise _Enough

    def _outcome(self, case: Case) -> Finding | Exception | None:
        """What is wrong in a case, if anything is."""
        try:
            outcome: Finding | Exception = measure(self.axiom, self.explainer, case)
        except _REFUSALS as refusal:
            self.refusal = str(refusal)
            self.refused += 1
            return None
        except Exception as error:
            # Whatever a foreign explainer raises is a finding.
            outcome = error
        self.tried += 1
        if isinstance(outcome, Finding) and outcome.kept:
            if self.nearest is None or _ratio(outcome) > _ratio(self.nearest):
                self.nearest = outcome
            return None
        self.failed_at = self.failed_at or time.perf_counter()
        if self.found is None or _rank(case, outcome) < _rank(*self.found):
            self.found = case, outcome
        return outcome


def _rank(case: Case, outcome: Finding | Exception) -> tuple[Any, ...]:
    """A broken promise says more than a crash, and a small case more than a large one."""
    return isinstance(outcome, Exception), case.size


def _ratio(finding: Finding) -> float:
    return finding.gap / finding.tolerance if finding.tolerance else finding.gap


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "gap": finding.gap,
        "tolerance": finding.tolerance,
        "expected": finding.expected,
        "got": finding.got,
    }


def _search_settings(max_examples: int) -> Callable[[Any], Any]:
    # Every setting that a profile of the user's could change is named.
    return hypothesis_settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        print_blob=False,
        # A crash does not hide a broken promise.
        report_multiple_bugs=True,
        verbosity=Verbosity.quiet,
        # Not the explain phase: it prints torch's insides, and a counterexample says enough.
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
