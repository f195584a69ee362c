"""Black boxes that are differentiable torch modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.answers import class_outputs
from xai_adapters.model.outputs import class_probabilities
from xai_adapters.model.state import left_as_found


def has_gradient(black_box: ArrayBlackBox, row: Tensor) -> bool:
    """Whether the black box is a module whose outputs have a gradient in the row (1, d)."""
    model = black_box.predictor
    if not isinstance(model, nn.Module):
        return False
    black_box.n_queries += 1
    with torch.enable_grad(), left_as_found(model, row.device):
        row = row.detach().clone().requires_grad_()
        outputs = class_outputs(model(black_box.as_asked(row).clone()))
        if not isinstance(outputs, Tensor) or not outputs.requires_grad:
            return False
        (slope,) = torch.autograd.grad(outputs.sum(), row, allow_unused=True)
    return slope is not None


def differentiable_probabilities(
    black_box: ArrayBlackBox, schema: FeatureSchema, rows: Tensor
) -> Callable[[Tensor], Tensor]:
    """A function of encoded points (m, e) to class probabilities (m, K) that has a gradient.

    Args:
        black_box: a module with a gradient; its queries are counted.
        schema: decodes the points.
        rows: (n, d), which show whether outputs are probabilities unless that is known.
    """
    if black_box.resolved_output_type == "auto":
        black_box.labels(rows)
    are_probabilities = torch.tensor(black_box.resolved_output_type == "probabilities")

    def probabilities(points: Tensor) -> Tensor:
        black_box.n_queries += len(points)
        asked = black_box.as_asked(schema.decode(points)).clone()
        outputs = class_outputs(black_box.predictor(asked))
        outputs = outputs.reshape(len(points), -1).to(points.device)
        each = are_probabilities.to(points.device).expand(len(points))
        return class_probabilities(outputs, each, black_box.threshold)

    return probabilities
