"""What an explainer is made for: a model, rows like those to explain, and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.answers import class_outputs
from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.inputs import ask_with_copies


@dataclass(frozen=True)
class Subject:
    """What an explainer is made for.

    Args:
        model: a torch module that gives class logits or probabilities, or an estimator with
            `predict_proba`.
        background: (m, ...) rows like those to be explained.
        kind: whether rows are (n, channels, height, width) images in [0, 1] or (n, d) tables.
        fill: the value of masked pixels in the metric; None for a table, which has none.
        seed: for everything that the explainer draws.
        schema: what a table's columns are and how each may change; None for free numbers.
    """

    model: Any
    background: Tensor
    kind: Literal["image", "tabular"]
    fill: float | None
    seed: int = 0
    schema: FeatureSchema | None = None

    def network(self) -> nn.Module:
        """The model, if it has gradients.

        Raises:
            NotApplicableError: if it has none.
        """
        if not isinstance(self.model, nn.Module):
            raise NotApplicableError("needs gradients, which only torch modules have")
        return self.model

    def mask_value(self) -> float:
        """The value of masked pixels, for explainers that take it as their baseline.

        Raises:
            NotApplicableError: for a table.
        """
        if self.fill is None:
            raise NotApplicableError("needs the value of masked pixels, which tables do not have")
        return self.fill

    def forward(self, rows: Tensor) -> Tensor:
        """Class outputs (n, K) of rows, as a function of tensors, for any kind of model."""
        if isinstance(self.model, nn.Module):
            answer = ask_with_copies(self.model, self.model, rows)
            outputs: Tensor = class_outputs(answer, "the model")
            return outputs
        return BlackBox(self.model).probabilities(rows).to(rows.dtype)

    def probabilities(self, table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Class probabilities (n, K) of flattened rows (n, d), as a function of arrays."""
        rows = torch.as_tensor(table).to(self.background)
        rows = rows.view(-1, *self.background.shape[1:])
        probabilities = BlackBox(self.model).probabilities(rows)
        array: np.ndarray[Any, Any] = probabilities.cpu().numpy()
        return array
