"""Rows that have a class, and their counterfactuals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xai_adapters.axioms.answers.counterfactuals import changing
from xai_adapters.axioms.cases.columns import Column, as_table, schema_of
from xai_adapters.axioms.trial import Trial
from xai_adapters.errors import NotApplicableError
from xai_adapters.registry import Subject

# A lead of the largest output over the next that is more than rounding.
DECIDED = 1e-9


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
        """Whether points (a, d) have the class that the counterfactuals of rows (a,) need."""
        classes = labels(self.model, points)
        if self.target is None:
            return classes != self.original_class[rows]
        return classes == self.target[rows]

    def rows_with_counterfactual(self) -> Tensor:
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
        features: what the columns are, if they are not just numbers.

    Raises:
        NotApplicableError: for features, if the explainer is made for a model and cannot know them.
    """
    if features is None:
        made = trial.made(model)
    elif trial.explainer.takes == "subject":
        background = as_table(trial.background, features)
        subject = Subject(model, background, "tabular", None, schema=schema_of(features))
        made = trial.explainer.make(subject)
    else:
        raise NotApplicableError("it is made for a model alone, and does not know its features")
    change = changing(made)

    def explain(
        rows: Tensor, target: Tensor | None = None, original_class: Tensor | None = None
    ) -> Explained:
        original_class = labels(model, rows) if original_class is None else original_class
        changed = change(rows, original_class, target)
        return Explained(
            model, rows, original_class, target, changed.rows, changed.given, changed.success
        )

    return explain


def explained(trial: Trial, *, to_targets: bool = False) -> Explained:
    """The case's rows that have a class, and their counterfactuals."""
    model = trial.model()
    rows, target = decided_rows(trial, model)
    explain = explaining(trial, model, trial.details.get("features"))
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
