"""shap's own explainers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import NotApplicableError, require
from xai_adapters.registry.claims import GLOBAL_GENERATORS, SHAPLEY
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject

_N_BACKGROUND = 20
_MAX_COLUMNS = 1_000

_shap = partial(
    registered, baseline="data", unit="output", reads="probabilities", block_size=1, host="shap"
)


@_shap(claims=SHAPLEY)
def shap_kernel(subject: Subject) -> Explainer:
    """SHAP's KernelExplainer, 20 background rows.

    It takes its own number of samples.
    """
    shap = require("shap", "shap")
    method = shap.KernelExplainer(subject.probabilities, _background(subject))
    return _of_target(lambda table: method.shap_values(table, silent=True))


@_shap(
    claims={
        **SHAPLEY,
        "symmetry": "ten orders of the features are not all of them",
        "random_state_kept": GLOBAL_GENERATORS,
        "batch_independence": "its generator runs on from row to row",
    }
)
def shap_permutation(subject: Subject) -> Explainer:
    """SHAP's PermutationExplainer, 20 background rows.

    It takes its own number of evaluations.
    """
    shap, background = require("shap", "shap"), _background(subject)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    method = shap.PermutationExplainer(subject.probabilities, masker, seed=subject.seed)
    return _of_target(lambda table: method(table, silent=True).values)


def _background(subject: Subject) -> np.ndarray[Any, Any]:
    table: np.ndarray[Any, Any] = subject.background[:_N_BACKGROUND].flatten(1).cpu().numpy()
    if table.shape[1] > _MAX_COLUMNS:
        raise NotApplicableError(
            f"evaluates each of {table.shape[1]:,} columns; at most {_MAX_COLUMNS:,} are feasible"
        )
    return table


def _of_target(values: Any) -> Explainer:
    """From values (n, d, K) for every class, those of each row's target."""

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        of_classes = torch.as_tensor(np.asarray(values(rows.flatten(1).cpu().numpy())))
        of_target = of_classes[torch.arange(len(rows)), :, target.cpu()]
        return of_target.to(rows).view_as(rows)

    return FunctionExplainer(explain, {"n_background": _N_BACKGROUND})
