"""The register of axioms."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis.strategies import SearchStrategy

from xai_adapters.axioms.axiom import Axiom, Kind
from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.trial import Trial
from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.utils.options import named_options

AXIOMS: dict[str, Axiom] = {}


@named_options()
def define(
    cases: Callable[[Domain], SearchStrategy[Case]],
    *,
    statement: str,
    formula: str,
    source: str,
    kind: Kind = Axiom.kind,
    scale: str = Axiom.scale,
    classics: tuple[Case, ...] = (),
    atol: float = Axiom.atol,
    rtol: float = Axiom.rtol,
    max_examples: int | None = None,
) -> Callable[[Callable[[Trial], Finding]], Axiom]:
    """Register the axiom that a function of a trial measures, under the function's name.

    Args:
        cases: a strategy of the cases it is measured on, for the domain of an explainer.
        statement: as the other options, a field of `Axiom`.
        formula: likewise.
        source: likewise.
        kind: likewise.
        scale: likewise.
        classics: likewise.
        atol: likewise.
        rtol: likewise.
        max_examples: likewise.

    Raises:
        InvalidInputError: if there is an axiom of that name.
    """

    def register(measure: Callable[[Trial], Finding]) -> Axiom:
        name = measure.__name__
        if name in AXIOMS:
            raise InvalidInputError(f"there is an axiom '{name}' already")
        AXIOMS[name] = Axiom(
            name, statement, formula, source, measure, cases, kind, scale, classics, atol, rtol,
            max_examples,
        )  # fmt: skip
        return AXIOMS[name]

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


def chosen_axioms(axioms: Iterable[str | Axiom] | None) -> list[Axiom]:
    """Axioms that are given as such or by name; all if there is no choice."""
    if axioms is None:
        return list(AXIOMS.values())
    return [axiom(each) if isinstance(each, str) else each for each in axioms]
