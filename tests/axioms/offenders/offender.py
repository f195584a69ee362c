"""What an offender is: an explainer that is wrong in one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from xai_adapters.axioms import Explainer


@dataclass(frozen=True)
class Offender:
    """An explainer that breaks one axiom, beside the one it was made from, which keeps it."""

    name: str
    axiom: str
    explainer: Explainer
    good: Explainer

    def __repr__(self) -> str:
        return f"{self.axiom}-{self.name}"


def offender(
    name: str, axiom: str, make: Callable[[Any], Any], good: Explainer, **other: Any
) -> Offender:
    """An offender with the claim, the domain and the baseline of the good explainer."""
    claims = {axiom: good.claims.get(axiom, 0.0)}
    good = replace(good, claims=claims)
    return Offender(name, axiom, replace(good, name=name, make=make, **other), good)


def altered(good: Explainer, change: Callable[..., Any]) -> Callable[[Any], Any]:
    """A maker of the good explainer with a change of (attributions, rows, target, model)."""

    def make(model: Any) -> Any:
        explain = good.make(model)
        return lambda inputs, target: change(explain(inputs, target), inputs, target, model)

    return make
