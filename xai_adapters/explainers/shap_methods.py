"""Makers of shap's own explainers."""

from __future__ import annotations

from typing import Any

import numpy as np
import shap
import torch
from torch import Tensor

from xai_adapters.errors import NotApplicableError
from xai_adapters.registry import Explainer, FunctionExplainer, Subject

_N_BACKGROUND = 20
_MOST_COLUMNS = 1_000


def kernel(subject: Subject) -> Explainer:
    """`shap.KernelExplainer` with its own number of samples."""
    method = shap.KernelExplainer(subject.probabilities, _background(subject))
    return _of_target(lambda table: method.shap_values(table, silent=True))


def permutation(subject: Subject) -> Explainer:
    """`shap.PermutationExplainer` with its own number of evaluations."""
    background = _background(subject)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    method = shap.PermutationExplainer(subject.probabilities, masker, seed=subject.seed)
    return _of_target(lambda table: method(table, silent=True).values)


def _background(subject: Subject) -> np.ndarray[Any, Any]:
    table: np.ndarray[Any, Any] = subject.background[:_N_BACKGROUND].flatten(1).cpu().numpy()
    if table.shape[1] > _MOST_COLUMNS:
        raise NotApplicableError(
            f"asks about each of {table.shape[1]:,} columns; at most {_MOST_COLUMNS:,} are feasible"
        )
    return table


def _of_target(values: Any) -> Explainer:
    """From values (n, d, K) for every class, those of each row's target."""

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        found = torch.as_tensor(np.asarray(values(rows.flatten(1).cpu().numpy())))
        chosen = found[torch.arange(len(rows)), :, target.cpu()]
        return chosen.to(rows).view_as(rows)

    return FunctionExplainer(explain)
