"""An explainer under test: how it is made, what it claims, and what it is made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from xai_adapters.axioms.cases.case import Domain
from xai_adapters.registry import Subject

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
        """The name, from which ids of tests are made."""
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
