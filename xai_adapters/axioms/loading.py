"""Explainers under test, from a function of the user's, from the registry or by reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from numbers import Real
from typing import Any, Literal, get_args

from xai_adapters.axioms.cases.case import Domain
from xai_adapters.axioms.explainer import Explainer, Unit
from xai_adapters.axioms.register import axiom
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import explainer_entry
from xai_adapters.utils.options import (
    check_choice,
    check_number,
    check_whole_number,
    named_options,
)
from xai_adapters.utils.references import is_reference, resolve


@named_options()
def explainer(
    name: str,
    make: Callable[[Any], Any],
    claims: Mapping[str, float | str],
    *,
    baseline: float | Literal["data"] | None = 0.0,
    unit: Unit | None = None,
    domain: Domain | None = None,
    takes: Literal["model", "subject"] = "model",
    n_background: int = 20,
    source: str | None = None,
) -> Explainer:
    """An explainer under test.

    Args:
        name: as all arguments, a field of `Explainer`.
        make: likewise.
        claims: likewise.
        baseline: likewise.
        unit: likewise.
        domain: likewise; by default all models.
        takes: likewise.
        n_background: likewise.
        source: likewise.

    Raises:
        UnknownNameError: for a claim about an axiom that does not exist.
        InvalidInputError: for a claim that is neither an error of at least 0 nor a reason, and for
            an option of the wrong kind.

    Example:
        >>> from xai_adapters.axioms import check_explainer
        >>> def gradient_of_a_line(model):
        ...     return lambda inputs, target: model[0].weight[target] * inputs
        >>> tested = explainer(
        ...     "line", gradient_of_a_line, {"dummy": 0}, domain=Domain.linear(styles=("module",))
        ... )
        >>> [record] = check_explainer(tested, axioms=["dummy"])
        >>> record.status
        'kept'
    """
    for claimed, claim in claims.items():
        axiom(claimed)
        is_error = isinstance(claim, Real) and not isinstance(claim, bool) and claim >= 0
        if not isinstance(claim, str) and not is_error:
            raise InvalidInputError(
                f"the claim of '{name}' about {claimed} must be an error of at least 0, or the "
                f"reason why it is not promised, is {claim!r}"
            )
    if baseline != "data":
        check_number("baseline", baseline, optional=True)
    check_choice("unit", unit, (*get_args(Unit), None))
    check_choice("takes", takes, ("model", "subject"))
    check_whole_number("n_background", n_background, at_least=1)
    return Explainer(
        name, make, dict(claims), baseline, unit, domain or Domain(), takes, n_background, source
    )


def registered(name: str) -> Explainer:
    """A registered explainer under test, with the claims of its entry.

    Raises:
        UnknownNameError: if there is none of that name, with the nearest name.
    """
    entry = explainer_entry(name)
    baselines: dict[str, Any] = {"none": None, "black": 0.0, "mask": 0.5, "data": "data"}
    return explainer(
        name,
        _LoadedMaker(name, 0, lambda subject: entry.load()(subject)),
        entry.claims,
        baseline=baselines[entry.baseline],
        unit=entry.unit,
        domain=Domain(probabilities=entry.reads == "probabilities", **entry.domain),
        takes="subject",
        n_background=20 if entry.baseline == "data" else 128,
        source=f"registered({name!r})",
    )


def load_explainers(reference: str) -> list[Explainer]:
    """The explainers that "module:factory" gives: one, or several.

    Args:
        reference: a function without arguments, or an `Explainer` or list of them; or the name of
            a registered explainer.

    Raises:
        InvalidInputError: for a module that cannot be imported, for something else, and for two
            explainers of one name.
        UnknownNameError: for a name that is neither registered nor an attribute of the module.
    """
    if not is_reference(reference):
        return [registered(reference)]
    given = resolve(reference)
    if not isinstance(given, (Explainer, Iterable)):
        given = given()
    every = list(given) if isinstance(given, Iterable) else [given]
    names = {each.name for each in every if isinstance(each, Explainer)}
    if not every or len(names) < len(every):
        raise InvalidInputError(
            f"{reference} must give an explainer made by xai_adapters.axioms.explainer, or a list "
            f"of those with different names; it gave {every!r:.200}"
        )
    return [
        replace(
            each,
            make=each.make
            if isinstance(each.make, _LoadedMaker)
            else _LoadedMaker(reference, number, each.make),
            source=each.source or f"load_explainers({reference!r})[{number}]",
        )
        for number, each in enumerate(every)
    ]


@dataclass(frozen=True)
class _LoadedMaker:
    """A maker that another process gets by loading its explainer again."""

    reference: str
    number: int
    make: Callable[[Any], Any]

    def __call__(self, given: Any) -> Any:
        return self.make(given)

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded_maker, (self.reference, self.number)


def _loaded_maker(reference: str, number: int) -> Callable[[Any], Any]:
    return _loaded_once(reference)[number].make


# A process is handed one explainer for each of many checks, and loading it may take long.
@cache
def _loaded_once(reference: str) -> list[Explainer]:
    return load_explainers(reference)
