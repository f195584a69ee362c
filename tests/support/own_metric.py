"""What a user's own module may hold, which worker processes import: a metric, model, explainer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.metrics import CounterfactualMetric, Counterfactuals
from xai_adapters.registry import FunctionGenerator, Subject


class Step(CounterfactualMetric[Counterfactuals]):
    """How far the first column moves."""

    name = "step"
    title = "step"
    higher_is_better = False

    def compute(self, given: Counterfactuals) -> Tensor:
        return given.moved[:, 0]


class Sign:
    """Class 1 for rows whose first column is positive."""

    classes_ = np.array([0, 1])

    def predict(self, X: np.ndarray) -> np.ndarray:
        return (X[:, 0] > 0).astype(int)


def mirrored(subject: Subject) -> FunctionGenerator:
    return FunctionGenerator(lambda rows, original_class: rows * torch.tensor([-1.0, 1.0]))
