"""A task: a model, the rows to explain, and how to mask them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from xai_adapters.features.schema import FeatureSchema

Comparison = Literal["attribution", "counterfactual"]


@dataclass(frozen=True)
class Task:
    """A model with rows to explain, for any explainer and any metric.

    Args:
        name: the name on the command line.
        description: data and model in one sentence, for the report.
        kind: "image" (rows are (n, channels, height, width) in [0, 1]; the model normalises them
            itself) or "tabular" (rows are (n, d)).
        model: a torch module in eval mode giving logits or probabilities, or a scikit-learn
            estimator with `predict_proba`.
        rows: the rows to explain, float32; the model was not trained on them.
        background: training rows of the same shape, for explainers that are fitted or need a
            reference distribution.
        class_names: one name for each column of the model's output.
        mask_value: what a masked feature is set to (images: 0.5 is gray).
        feature_names: one name for each column (tabular).
        facts: numbers for the report, such as the model's accuracy.
        schema: what the columns are and how each feature may change. With it, counterfactuals are
            compared instead of attributions.
    """

    name: str
    description: str
    kind: Literal["image", "tabular"]
    model: Any
    rows: Tensor
    background: Tensor
    class_names: tuple[str, ...]
    mask_value: float = 0.5
    feature_names: tuple[str, ...] = ()
    facts: Mapping[str, float] = field(default_factory=dict)
    schema: FeatureSchema | None = None

    @property
    def compares(self) -> Comparison:
        """What is compared: attributions or counterfactuals."""
        return "attribution" if self.schema is None else "counterfactual"

    @property
    def differentiable(self) -> bool:
        """Whether there are gradients with respect to the rows."""
        return isinstance(self.model, torch.nn.Module)

    def data_hash(self) -> str:
        """SHA-256 of the rows to explain, by which runs on the same data are recognised."""
        return hashlib.sha256(self.rows.contiguous().cpu().numpy().tobytes()).hexdigest()
