"""Maker of lime's tabular explainer."""

from __future__ import annotations

import torch
from lime.lime_tabular import LimeTabularExplainer
from torch import Tensor

from xai_adapters.errors import NotApplicableError
from xai_adapters.registry import Explainer, FunctionExplainer, Subject

_MOST_COLUMNS = 1_000


def lime_tabular(subject: Subject) -> Explainer:
    """LIME on columns as they are: discretised, its coefficients would not be directions."""
    table = subject.background.flatten(1).cpu().numpy()
    n_columns = table.shape[1]
    if n_columns > _MOST_COLUMNS:
        raise NotApplicableError(
            f"samples each of {n_columns:,} columns; at most {_MOST_COLUMNS:,} are feasible"
        )
    # It draws from numpy's global state: with one of its own, a row's weights would depend on the
    # rows that were asked about before.
    method = LimeTabularExplainer(table, discretize_continuous=False)

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        scores = torch.zeros(len(rows), n_columns)
        for row, (values, label) in enumerate(
            zip(rows.flatten(1).cpu().numpy(), target.tolist(), strict=True)
        ):
            explanation = method.explain_instance(
                values, subject.probabilities, labels=(label,), num_features=n_columns
            )
            for column, weight in explanation.as_map()[label]:
                scores[row, column] = weight
        return scores.to(rows).view_as(rows)

    return FunctionExplainer(explain)
