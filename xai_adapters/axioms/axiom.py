"""An axiom: a promise that an explainer can keep or break, and how it is checked."""

from __future__ import annotations

import importlib
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from hypothesis.strategies import SearchStrategy
from typing_extensions import Unpack

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.record import ExpectedFailure, Record, Status
from xai_adapters.axioms.search.counterexample import counterexample, one_line
from xai_adapters.axioms.search.processes import CheckPool
from xai_adapters.axioms.search.search import Search
from xai_adapters.axioms.settings import CheckOptions, Settings, current_session
from xai_adapters.axioms.trial import Trial
from xai_adapters.model.random_state import seeded
from xai_adapters.utils.options import named_options

Kind = Literal["attribution", "counterfactual", "box"]


@dataclass(frozen=True)
class Axiom:
    """A promise, in words, as a formula and as a measurement.

    The tolerance is a contract: `atol + (rtol + claim) * scale`, where the claim is the error that
    the explainer states of itself, and the scale is the axiom's own: |f(x) - f(x')| for
    completeness, the row's largest attribution for most others.

    Args:
        name: what it is called in claims, reports and ids.
        statement: what is promised, in a sentence.
        formula: the same in symbols: f the model's target output, x a row, x' the baseline, a(x)
            its attributions.
        source: where it is from.
        measure: computes the gap of one trial.
        cases: a strategy of the cases it is measured on, for the domain of an explainer.
        kind: what an explainer must be able to do: attributions, counterfactuals, or boxes.
        scale: what the tolerance is relative to, in words.
        classics: counterexamples from the literature, tried first.
        atol: what rounding may add, whatever the scale.
        rtol: what rounding may add, relative to the scale.
        max_examples: cases that are enough, for axioms whose one case is a mean over many models.
    """

    name: str
    statement: str
    formula: str
    source: str
    measure: Callable[[Trial], Finding]
    cases: Callable[[Domain], SearchStrategy[Case]]
    kind: Kind = "attribution"
    scale: str = "the row's largest attribution"
    classics: tuple[Case, ...] = field(default=(), repr=False)
    atol: float = 1e-6
    rtol: float = 1e-5
    max_examples: int | None = None

    def __repr__(self) -> str:
        """The call that finds it."""
        return f"axiom({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy it to another process by the name under which it was defined."""
        module = self.measure.__module__
        if getattr(sys.modules.get(module), self.name, None) is not self:
            raise pickle.PicklingError(f"there is no axiom {module}.{self.name} to be imported")
        return _imported, (module, self.name)

    def finding(self, explainer: Explainer, case: Case) -> Finding:
        """How far an explainer is from keeping it in one case; what is raised is passed on."""
        claim = explainer.claims.get(self.name, 0.0)
        trial = Trial(
            explainer, case, self.atol, self.rtol + (0.0 if isinstance(claim, str) else claim)
        )
        # Seeded alike each time, so that a case has one outcome, and whatever the caller's modes.
        with (
            seeded(0),
            torch.inference_mode(False),
            torch.enable_grad(),
            warnings.catch_warnings(),
        ):
            # Hosts warn about what they do to a model; this one is made for the occasion.
            warnings.simplefilter("ignore")
            return self.measure(trial)

    @named_options(Settings)
    def check(self, explainer: Explainer, **options: Unpack[CheckOptions]) -> None:
        """Search for a counterexample.

        Args:
            explainer: made by `explainer` or `registered`.
            **options: the fields of `Settings`.

        Raises:
            AxiomError: if the axiom is broken, or the explainer crashes or hangs.
        """
        [record] = check_all([(self, explainer, None)], **options)
        record.raise_if_failed()


def _imported(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def check_all(
    asked: Iterable[tuple[Axiom, Explainer, str | ExpectedFailure | None]],
    n_processes: int = 1,
    on_record: Callable[[Record], object] = lambda record: None,
    **options: Unpack[CheckOptions],
) -> list[Record]:
    """Check axioms on explainers.

    Args:
        asked: for each check an axiom, an explainer, and why it is expected to fail, if it is.
        n_processes: checks run at once.
        on_record: called with each record, as the checks end.
        **options: the fields of `Settings`.

    Returns:
        The records, in the order of the checks.
    """
    session = current_session()
    options = {**session.defaults, **options}
    settings = Settings(**options)
    checks = [
        _Check(axiom, explainer, ExpectedFailure(why) if isinstance(why, str) else why, settings)
        for axiom, explainer, why in asked
    ]
    records: dict[int, Record] = {}
    with CheckPool(n_processes) if session.pool is None else nullcontext(session.pool) as pool:
        for number, record in pool.records(checks):
            records[number] = record
            session.records.append(record)
            on_record(record)
    return [records[number] for number in range(len(checks))]


@dataclass(frozen=True)
class _Check:
    """One axiom on one explainer, which may be sent to another process."""

    axiom: Axiom
    explainer: Explainer
    expected: ExpectedFailure | None
    settings: Settings

    @property
    def timeout(self) -> float | None:
        """Seconds that it may take; None for no limit."""
        return self.settings.timeout

    def run(self, on_case: Callable[[Record], object] | None = None) -> Record:
        """Search for a counterexample.

        Args:
            on_case: called after each case with what would be recorded if the search ended there.
        """
        claim = self.explainer.claims.get(self.axiom.name, "it makes no such claim")
        if isinstance(claim, str):
            return self.record("not claimed", claim)
        start = time.perf_counter()

        def outcome(search: Search) -> Record:
            return replace(self._outcome(search), seconds=time.perf_counter() - start)

        search = Search(
            partial(self.axiom.finding, self.explainer),
            self.settings.budget,
            None if on_case is None else lambda search: on_case(outcome(search)),
        )
        pinned = self.expected.case if self.expected else None
        with seeded(None):
            if pinned:
                search.run_one(pinned)
            else:
                self._run(search)
        return outcome(search)

    def _run(self, search: Search) -> None:
        domain, enough = self.explainer.domain, self.settings.max_examples
        if self.axiom.max_examples is not None:
            enough = min(enough, self.axiom.max_examples)
        classics = [
            case
            for case in self.axiom.classics
            if domain.admits(case.network) and (case.other is None or domain.admits(case.other))
        ]
        search.run(self.axiom.cases(domain), enough, self.settings.seed, classics)

    def record(self, status: Status, reason: str = "", **outcome: Any) -> Record:
        """A record of this check."""
        return Record(self.explainer.name, self.axiom.name, status, reason, **outcome)

    def _outcome(self, search: Search) -> Record:
        """What came of a search, or has so far."""
        n_tried, expected = search.n_tried, self.expected
        if search.counterexample:
            case, failure = search.counterexample
            shown: dict[str, Any] = {
                "case": case,
                "counterexample": counterexample(
                    self.axiom.name, self.axiom.formula, self.explainer, case, failure
                ),
                "examples": n_tried,
            }
            status: Status = "crashed"
            reason = ""
            if isinstance(failure, Finding):
                status = "broken"
                shown |= vars(failure)
            else:
                reason = one_line(failure)
            if expected:
                status, reason = "expected failure", expected.reason
            return self.record(status, reason, **shown)
        if search.own_error:
            reason = f"the search itself: {search.own_error}"
            return self.record("crashed", reason, examples=n_tried)
        if n_tried == 0 and search.refusal:
            return self.record("not applicable", search.refusal)
        nearest = vars(search.nearest) if search.nearest else {}
        reason = f"was expected to fail: {expected.reason}" if expected else ""
        return self.record("kept", reason, examples=n_tried, **nearest)
