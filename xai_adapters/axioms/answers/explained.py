"""Rows and their counterfactuals: what the axioms of counterfactuals and boxes look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor, nn

from xai_adapters.axioms.answers.counterfactuals import changing
from xai_adapters.axioms.answers.trial import Trial
from xai_adapters.axioms.search.case import Case, Domain
from xai_adapters.axioms.search.columns import Column, as_table, schema_of
from xai_adapters.axioms.search.drawing import network, rows_for
from xai_adapters.axioms.search.networks import Network
from xai_adapters.errors import NotApplicableError
from xai_adapters.registry import Subject

# A lead of the largest output over the next that is more than rounding.
DECIDED = 1e-9
_MAX_ROWS = 6


def classifier(draw: DrawFn, domain: Domain, **given: Any) -> Network:
    """A network of two or three classes."""
    return network(draw, domain, n_outputs=draw(st.integers(2, 3)), **given)


def several_rows(domain: Domain) -> SearchStrategy[Case]:
    """A few rows of a classifier, which may be given one by one."""
    return rows_of_classes(domain, min_rows=2, max_rows=3)


@st.composite
def rows_of_classes(
    draw: DrawFn,
    /,
    domain: Domain,
    min_rows: int = 1,
    max_rows: int = _MAX_ROWS,
    **given: Any,
) -> Case:
    """Rows of a classifier; their targets are not read."""
    model = classifier(draw, domain, **given)
    rows, _ = rows_for(draw, model, n_rows=draw(st.integers(min_rows, max_rows)))
    return Case(model, rows, [0] * len(rows))


@st.composite
def classes_to_reach(draw: DrawFn, domain: Domain) -> Case:
    """Rows of a classifier with a class to reach for each."""
    model = classifier(draw, domain)
    return Case(model, *rows_for(draw, model, n_rows=draw(st.integers(1, _MAX_ROWS))))


@dataclass(frozen=True)
class Explained:
    """Rows of decided classes and their counterfactuals.

    Attributes:
        model: what was explained.
        before: (n, d).
        original_class: (n,) the classes before.
        target: (n,) the classes to reach, if any were asked for.
        after: (n, d).
        given: (n,) which of them are given as counterfactuals.
        success: (n,) what the explainer says of them; None if it says nothing.
    """

    model: nn.Module
    before: Tensor
    original_class: Tensor
    target: Tensor | None
    after: Tensor
    given: Tensor
    success: Tensor | None

    def reaches(self, points: Tensor, rows: Tensor) -> Tensor:
        """Whether points (a, d) have the class that rows (a,) want."""
        found = labels(self.model, points)
        if self.target is None:
            return found != self.original_class[rows]
        return found == self.target[rows]

    def found(self) -> Tensor:
        """The numbers (a,) of rows with a true counterfactual.

        Raises:
            NotApplicableError: if there are none.
        """
        rows = numbers_of(self.given)
        rows = rows[self.reaches(self.after[rows], rows)]
        if len(rows) == 0:
            raise NotApplicableError("it finds no counterfactual here")
        return rows


def explaining(
    trial: Trial, model: nn.Module, features: Sequence[Column] | None = None
) -> Callable[..., Explained]:
    """The explainer, made for a model, as a function of (rows, target=None, original_class=None).

    Args:
        trial: of the explainer.
        model: of the rows.
        features: what the columns are, where there is anything to tell.

    Raises:
        NotApplicableError: for features that an explainer made for a model is not told of.
    """
    if features is None:
        made = trial.made(model)
    elif trial.explainer.takes == "subject":
        background = as_table(trial.background, features)
        subject = Subject(model, background, "tabular", None, schema=schema_of(features))
        made = trial.explainer.make(subject)
    else:
        raise NotApplicableError("it is made for a model alone, and not told of its features")
    change = changing(made)

    def explain(
        rows: Tensor, target: Tensor | None = None, original_class: Tensor | None = None
    ) -> Explained:
        original_class = labels(model, rows) if original_class is None else original_class
        found = change(rows, original_class, target)
        return Explained(
            model, rows, original_class, target, found.rows, found.given, found.success
        )

    return explain


def explained(trial: Trial, *, to_targets: bool = False) -> Explained:
    """The case's rows that have a class, and what the explainer makes of them."""
    model = trial.model()
    rows, target = decided_rows(trial, model)
    explain = explaining(trial, model, trial.facts.get("features"))
    return explain(rows, target if to_targets else None)


@torch.no_grad()
def decided_rows(trial: Trial, model: nn.Module, at_least: int = 1) -> tuple[Tensor, Tensor]:
    """The case's rows (n, d) that do not lie on a boundary of the model, and their targets (n,).

    Raises:
        NotApplicableError: if there are fewer than so many.
    """
    largest = model(trial.rows).topk(2, dim=1).values
    decided = largest[:, 0] - largest[:, 1] > DECIDED
    if int(decided.sum()) < at_least:
        raise NotApplicableError("rows on a boundary have no class of their own")
    return trial.rows[decided], trial.targets[decided]


@torch.no_grad()
def labels(model: nn.Module, rows: Tensor) -> Tensor:
    """The classes (n,) of rows (n, d)."""
    outputs: Tensor = model(rows)
    return outputs.argmax(dim=1)


def numbers_of(chosen: Tensor) -> Tensor:
    """Where a vector of truths is true."""
    return chosen.nonzero()[:, 0]
