"""What is under test: how an explainer is made, what it claims, and how it is called."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor, nn

from xai_adapters.axioms.search.case import Domain
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import Subject, explainer_entry

Unit = Literal["output", "output/input", "input"]


@dataclass(frozen=True)
class Explainer:
    """An explainer under test.

    Args:
        name: what it is called in reports and ids.
        make: a function of a model, or of a `Subject` if it `takes` one. It returns an object with
            Captum's `attribute(inputs, target=...)`, one with `explain(rows, target)`, or a
            callable of `(inputs, target=...)`; for other kinds of axioms a counterfactual explainer
            or a box. It raises `NotApplicableError` for what it cannot serve.
        claims: for each axiom it promises the error it states of itself, 0 for none; for one it
            does not promise the reason, as text. What is left out is not claimed either.
        baseline: what it takes for absent: a value, "data" for the mean over the background, None
            if it knows no such thing.
        unit: what attributions are measured in, which says how they follow a feature's scale.
        domain: the models and rows it is made for.
        takes: whether `make` takes the "model" alone, or a "subject": model, background, seed.
        n_background: rows of a subject's background.
        source: Python code that gives the explainer, for counterexamples; None if nobody knows it.
    """

    name: str
    make: Callable[[Any], Any]
    claims: Mapping[str, float | str] = field(default_factory=dict)
    baseline: float | Literal["data"] | None = 0.0
    unit: Unit | None = None
    domain: Domain = field(default_factory=Domain)
    takes: Literal["model", "subject"] = "model"
    n_background: int = 20
    source: str | None = None

    def __repr__(self) -> str:
        """The name: ids of tests and of workers are made from it."""
        return self.name

    def on(self, model: nn.Module, background: Tensor, *, seed: int = 0) -> Any:
        """The explainer, made for a model.

        Args:
            model: what is explained.
            background: (m, d) rows like those to be explained.
            seed: of a subject.
        """
        if self.takes == "model":
            return self.make(model)
        fill = self.baseline if isinstance(self.baseline, float) else None
        return self.make(Subject(model, background, "tabular", fill, seed))


def explainer(
    name: str,
    make: Callable[[Any], Any],
    claims: Mapping[str, float | str],
    **settings: Any,
) -> Explainer:
    """An explainer under test; see `Explainer` for its settings.

    Raises:
        UnknownNameError: for a claim about an axiom that does not exist.
        InvalidInputError: for a claim that is neither an error of at least 0 nor a reason.

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
    from xai_adapters.axioms.axiom import axiom

    for claimed, claim in claims.items():
        axiom(claimed)
        if not isinstance(claim, str) and not claim >= 0:
            raise InvalidInputError(
                f"the claim of '{name}' about {claimed} must be an error of at least 0, or the "
                f"reason why it is not promised; it is {claim!r}"
            )
    return Explainer(name, make, dict(claims), **settings)


def registered(name: str) -> Explainer:
    """A registered explainer under test, with the claims of its entry.

    Raises:
        UnknownNameError: if there is none of that name, with the nearest name.
    """
    entry = explainer_entry(name)
    baselines: dict[str, Any] = {"none": None, "black": 0.0, "mask": 0.5, "data": "data"}
    return explainer(
        name,
        lambda subject: entry.load()(subject),
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
        InvalidInputError: for something else, and for two explainers of one name.
    """
    module, colon, attribute = reference.partition(":")
    if not colon:
        return [registered(reference)]
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, (Explainer, Iterable)):
        found = found()
    every = list(found) if isinstance(found, Iterable) else [found]
    names = {each.name for each in every if isinstance(each, Explainer)}
    if not every or len(names) < len(every):
        raise InvalidInputError(
            f"{reference} must give an explainer made by xai_adapters.axioms.explainer, or a list "
            f"of those with different names; it gave {every!r:.200}"
        )
    return [
        replace(each, source=each.source or f"load_explainers({reference!r})[{number}]")
        for number, each in enumerate(every)
    ]
