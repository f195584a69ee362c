"""An axiom: a promise that an explainer can keep or break, and the register of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from xai_adapters.axioms.search.case import Case
from xai_adapters.errors import InvalidInputError, UnknownNameError

if TYPE_CHECKING:
    from xai_adapters.axioms.answers.trial import Trial
    from xai_adapters.axioms.search.drawing import Cases

Kind = Literal["attribution", "counterfactual", "box"]


@dataclass(frozen=True)
class Finding:
    """How far an explainer is from keeping an axiom in one case.

    Attributes:
        gap: the distance between what was expected and what came out; infinite for NaN.
        tolerance: the gap that is allowed.
        expected: what the axiom demands, of the row that is furthest from it.
        got: what came out of that row.
    """

    gap: float
    tolerance: float
    expected: Any = None
    got: Any = None

    @property
    def kept(self) -> bool:
        """Whether the gap is allowed; one that is infinite never is."""
        return self.gap <= self.tolerance and math.isfinite(self.gap)


@dataclass(frozen=True)
class Axiom:
    """A promise, in words, as a formula and as a measurement.

    The tolerance is a contract: `atol + (rtol + claim) * scale`, where the claim is the error that
    the explainer states of itself and the scale is the axiom's: |f(x) - f(x')| for completeness,
    the largest attribution of the row for most others.

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
    cases: Cases
    kind: Kind = "attribution"
    scale: str = "the row's largest attribution"
    classics: tuple[Case, ...] = field(default=(), repr=False)
    atol: float = 1e-6
    rtol: float = 1e-5
    max_examples: int | None = None

    def __repr__(self) -> str:
        """The call that finds it."""
        return f"axiom({self.name!r})"

    def tolerance(self, claim: float, scale: float) -> float:
        """The gap that is allowed to an explainer that states an error of `claim`."""
        return self.atol + (self.rtol + claim) * scale

    def check(self, explainer: Any, **settings: Any) -> None:
        """Search for a counterexample; the settings are those of `check_explainer`.

        Raises:
            AxiomError: if the axiom is broken, or the explainer crashes or hangs.
        """
        from xai_adapters.axioms.search.engine import check_axiom

        check_axiom(self, explainer, **settings).raise_if_failed()


AXIOMS: dict[str, Axiom] = {}


def define(cases: Cases, **definition: Any) -> Callable[[Callable[[Trial], Finding]], Axiom]:
    """Register the axiom that a function of a trial measures, under the function's name.

    Args:
        cases: a strategy of the cases it is measured on, for the domain of an explainer.
        **definition: the other fields of `Axiom`.

    Raises:
        InvalidInputError: if there is an axiom of that name.
    """

    def register(measure: Callable[[Trial], Finding]) -> Axiom:
        defined = Axiom(name=measure.__name__, measure=measure, cases=cases, **definition)
        if defined.name in AXIOMS:
            raise InvalidInputError(f"there is an axiom '{defined.name}' already")
        AXIOMS[defined.name] = defined
        return defined

    return register


def axiom(name: str) -> Axiom:
    """The axiom of that name.

    Raises:
        UnknownNameError: if there is none, with the nearest name.

    Example:
        >>> import xai_adapters.axioms
        >>> axiom("dummy").statement
        'A feature that the model does not read gets nothing.'
    """
    if name not in AXIOMS:
        raise UnknownNameError("axiom", name, AXIOMS)
    return AXIOMS[name]


def listed(values: Tensor) -> Any:
    """Numbers to show a person: rounded, and whole where they are."""
    if values.ndim:
        return [listed(value) for value in values]
    number = values.item()
    if isinstance(number, float):
        number = float(f"{number:.6g}")
        return int(number) if number.is_integer() and abs(number) < 1e6 else number
    return number


def worst(
    gaps: Tensor, tolerances: Tensor, expected: Tensor | Sequence[Any], got: Tensor | Sequence[Any]
) -> Finding:
    """The finding of the row that is furthest beyond its tolerance; NaN is furthest of all.

    Args:
        gaps: (n,) of each row.
        tolerances: (n,) what each row is allowed.
        expected: (n, ...) what the axiom demands of each row.
        got: (n, ...) what came out.
    """
    gaps = torch.where(gaps.isnan(), torch.inf, gaps)
    row = int((gaps - tolerances).argmax())
    return Finding(
        float(gaps[row]),
        float(tolerances[row]),
        *(listed(side[row]) if isinstance(side, Tensor) else side[row] for side in (expected, got)),
    )
