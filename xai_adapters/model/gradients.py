"""Gradients of a model's outputs with respect to its inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.errors import PredictorError


def input_gradient(
    values: Tensor, points: Tensor, used_for: str, *, retain_graph: bool = False
) -> Tensor:
    """The gradient (m, ...) of the sum of values with respect to their points (m, ...).

    Args:
        values: that a model gave for the points.
        points: they require a gradient.
        used_for: how the message ends: which ...
        retain_graph: whether the same values will be differentiated again.

    Raises:
        PredictorError: if the values have no gradient.
    """
    if not values.requires_grad:
        raise PredictorError(
            f"the model's outputs have no gradient with respect to the rows, which {used_for}"
        )
    (slope,) = torch.autograd.grad(
        values,
        points,
        torch.ones_like(values),
        retain_graph=retain_graph,
        materialize_grads=True,
    )
    return slope
