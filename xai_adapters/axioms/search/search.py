"""A search for the smallest case in which a measurement exceeds its tolerance."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, currently_in_test_context, given
from hypothesis import seed as hypothesis_seed
from hypothesis import settings as hypothesis_settings
from hypothesis.strategies import SearchStrategy

from xai_adapters.axioms.cases.case import Case
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.search.counterexample import one_line
from xai_adapters.errors import (
    ConstantPredictorError,
    MissingDependencyError,
    NotApplicableError,
)

# Beyond this a counterexample is small enough: seconds of computing, which are the same on a busy
# machine, and of waiting.
_SHRINK_SECONDS, _SHRINK_WALL_SECONDS = 3.0, 20.0
# So few cases are tried whatever the budget says; the first that hypothesis draws is the plainest.
_LEAST_EXAMPLES = 3
_REFUSALS = (NotApplicableError, MissingDependencyError, ConstantPredictorError)


class _Enough(BaseException):
    """Ends hypothesis' search; not an Exception, which it would take for a counterexample."""


class _BrokenError(Exception):
    """What hypothesis sees of a broken promise."""


class _CrashedError(Exception):
    """What hypothesis sees of a crash: another failure, so that it searches on."""


class Search:
    """Tries cases, and keeps the smallest counterexample.

    Args:
        measure: what is measured in a case; what it raises counts as a crash, except for the errors
            by which an explainer refuses a case.
        budget: seconds after which no further case is tried if none failed; None for no limit.
        on_case: called with the search after each case.

    Attributes:
        n_tried: cases tried, without those that were refused.
        refusal: why the last case was refused.
        nearest: of the findings that are kept the one nearest to its tolerance.
        counterexample: the smallest case that failed, with its finding or what was raised.
        own_error: what went wrong in the search itself.
    """

    def __init__(
        self,
        measure: Callable[[Case], Finding],
        budget: float | None = None,
        on_case: Callable[[Search], object] | None = None,
    ) -> None:
        self._measure, self._budget, self._on_case = measure, budget, on_case
        self.n_tried = self._n_refused = 0
        self.refusal = self.own_error = ""
        self.nearest: Finding | None = None
        self.counterexample: tuple[Case, Finding | Exception] | None = None
        self._started = time.perf_counter()
        self._failed_at: tuple[float, float] | None = None

    def run(
        self,
        cases: SearchStrategy[Case],
        max_examples: int,
        seed: int,
        tried_first: Sequence[Case] = (),
    ) -> None:
        """Try some cases, and unless one fails, what hypothesis draws.

        Args:
            cases: what hypothesis draws.
            max_examples: how many of those.
            seed: with which they are drawn.
            tried_first: cases beside them.
        """
        for case in tried_first:
            self.run_one(case)
            if self.counterexample:
                return

        def attempt(case: Case) -> None:
            self._check_time()
            outcome = self.run_one(case)
            if isinstance(outcome, Finding):
                raise _BrokenError
            if outcome is not None:
                raise _CrashedError

        def search() -> None:
            _search_settings(max_examples)(hypothesis_seed(seed)(given(cases)(attempt)))()

        try:
            _outside_of_tests(search)
        except (_Enough, _BrokenError, _CrashedError):
            pass
        except Exception as error:
            # An explainer that answers differently each time upsets hypothesis, not us; anything
            # else is a mistake of the axiom, and the other axioms are still to be checked.
            self.own_error = one_line(error)

    def run_one(self, case: Case) -> Finding | Exception | None:
        """Try one case; what is wrong with it, if anything."""
        try:
            outcome: Finding | Exception = self._measure(case)
        except _REFUSALS as refusal:
            self.refusal = str(refusal)
            self._n_refused += 1
            return None
        except Exception as error:
            # Whatever an explainer raises is a finding.
            outcome = error
        self.n_tried += 1
        self._note(case, outcome)
        if self._on_case:
            self._on_case(self)
        return None if isinstance(outcome, Finding) and outcome.is_kept else outcome

    def _note(self, case: Case, outcome: Finding | Exception) -> None:
        if isinstance(outcome, Finding) and outcome.is_kept:
            if self.nearest is None or _ratio(outcome) > _ratio(self.nearest):
                self.nearest = outcome
            return
        self._failed_at = self._failed_at or (time.thread_time(), time.perf_counter())
        if self.counterexample is None or _rank(case, outcome) < _rank(*self.counterexample):
            self.counterexample = case, outcome

    def _check_time(self) -> None:
        now = time.perf_counter()
        if self._failed_at:
            computing, failed_at = self._failed_at
            is_enough = time.thread_time() - computing > _SHRINK_SECONDS
            is_enough |= now - failed_at > _SHRINK_WALL_SECONDS
        else:
            is_late = self._budget is not None and now - self._started > self._budget
            is_enough = is_late and self.n_tried + self._n_refused >= _LEAST_EXAMPLES
        if is_enough:
            raise _Enough


def _outside_of_tests(search: Callable[[], None]) -> None:
    """Run a search, also within a property test, in which hypothesis refuses to run another."""
    if not currently_in_test_context():
        search()
        return
    raised: list[BaseException] = []

    def run() -> None:
        try:
            search()
        except BaseException as error:
            raised.append(error)

    # hypothesis knows what runs by thread.
    thread = threading.Thread(target=run, name="xai-adapters check", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _rank(case: Case, outcome: Finding | Exception) -> tuple[Any, ...]:
    """A broken promise says more than a crash, and a small case more than a large one."""
    return isinstance(outcome, Exception), case.size


def _ratio(finding: Finding) -> float:
    return finding.gap / finding.tolerance if finding.tolerance else finding.gap


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
