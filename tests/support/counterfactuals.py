"""Both counterfactual explainers, quick enough for tests, and predictors for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

BOTH = ("FIMAPCounterfactual", "InvariantBoxCounterfactual")

QUICK_FIMAP = {
    "surrogate_widths": (24,),
    "perturber_widths": (24,),
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "epochs": 6,
    "batch_size": 32,
    "query_budget": 0,
}
QUICK: dict[str, dict[str, Any]] = {
    "FIMAPCounterfactual": QUICK_FIMAP,
    "InvariantBoxCounterfactual": {
        "n_steps": 40,
        "n_draws": 16,
        "step_size": 0.05,
        "n_bound_draws": 64,
        "surrogate": QUICK_FIMAP,
    },
}
# Three classes, each the direction that points farthest its way.
CORNERS = np.array([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def three_classes(X: np.ndarray) -> np.ndarray:
    """Probabilities (n, 3) by the first two columns."""
    scores = np.exp(4 * X[:, :2] @ CORNERS.T)
    return scores / scores.sum(axis=1, keepdims=True)


def network(n_columns: int = 3) -> nn.Module:
    """Three classes by the first two columns, as a module."""
    model = nn.Linear(n_columns, 3)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[:, :2] = torch.from_numpy(4 * CORNERS)
        model.bias.zero_()
    return model


def labels(X: np.ndarray) -> list[str]:
    return [("low", "high", "middle")[k] for k in three_classes(X).argmax(axis=1)]


class Estimator:
    """What scikit-learn's classifiers have."""

    classes_ = np.array(["a", "b", "c"])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return three_classes(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[three_classes(X).argmax(axis=1)]
