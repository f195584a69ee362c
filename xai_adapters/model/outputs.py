"""A model's outputs (probabilities, logits or one number), read as class probabilities.

Both explainers compare classes, so both need (n, K) probabilities with K >= 2, whatever the model
returns. Everything here is differentiable, and no row depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.options import check_choice

OutputType = Literal["auto", "probabilities", "logits"]


def check_output_type(kind: str) -> None:
    """Raise `InvalidInputError` unless `kind` is one of `OutputType`."""
    check_choice("output_type", kind, get_args(OutputType))


def are_probabilities(outputs: Tensor) -> Tensor:
    """Tell for each row whether its outputs can be probabilities.

    Args:
        outputs: (n, K) class outputs with rows adding up to 1, or (n, 1) for one number in [0, 1].

    Returns:
        (n,) bool.

    Example:
        >>> are_probabilities(torch.tensor([[0.25, 0.75], [3.0, -1.0]])).tolist()
        [True, False]
    """
    tolerance = 1e-3 if torch.finfo(outputs.dtype).bits > 16 else 3e-2
    outputs = outputs.detach()
    in_range = ((outputs >= -tolerance) & (outputs <= 1 + tolerance)).all(dim=1)
    if outputs.shape[1] == 1:
        return in_range
    return in_range & ((outputs.sum(dim=1) - 1).abs() <= tolerance)


def class_probabilities(
    outputs: Tensor, is_probability: Tensor | bool, threshold: float | None = None
) -> Tensor:
    """Read outputs as probabilities of at least two classes.

    One output o is a decision between class 0 and class 1 (o above the threshold): the
    probability of class 1 is sigmoid(o - threshold), or, where o is a probability itself, o moved
    on the logit scale so that the threshold falls on one half.

    Args:
        outputs: (n, K) or (n, 1).
        is_probability: (n,) bool, as `are_probabilities` gives, or one for all rows.
        threshold: the decision threshold of a single output; None is 0.5 for probabilities and 0
            for logits. Ignored for K >= 2.

    Returns:
        (n, max(K, 2)) probabilities; a row's largest entry is the class the model decides for.

    Example:
        >>> class_probabilities(torch.tensor([[2.0]]), torch.tensor([False])).argmax(1).item()
        1
    """
    if outputs.shape[1] > 1:
        return _read_as(is_probability, lambda: outputs, lambda: outputs.softmax(dim=1))
    score = outputs[:, 0]
    if threshold is None:
        probability = _read_as(is_probability, lambda: score, score.sigmoid)
    else:
        probability = _odds(score, is_probability, threshold).sigmoid()
    return torch.stack((1 - probability, probability), dim=1)


def class_logits(
    outputs: Tensor, is_probability: Tensor | bool, threshold: float | None = None
) -> Tensor:
    """Read outputs as logits of at least two classes; arguments as for `class_probabilities`.

    Where outputs are probabilities these are their logarithms, which differ from each other as
    the logits do that a softmax made them of.

    Returns:
        (n, max(K, 2)) logits; a row's largest entry is the class the model decides for.

    Example:
        >>> class_logits(torch.tensor([[0.5]]), torch.tensor([True]), threshold=0.75).argmax(1)
        tensor([0])
    """
    if outputs.shape[1] > 1:
        tiny = torch.finfo(outputs.dtype).tiny
        return _read_as(is_probability, lambda: outputs.clamp(min=tiny).log(), lambda: outputs)
    odds = _odds(outputs[:, 0], is_probability, threshold)
    return torch.stack((torch.zeros_like(odds), odds), dim=1)


def _odds(score: Tensor, is_probability: Tensor | bool, threshold: float | None) -> Tensor:
    """Log odds (n,) of class 1, from single outputs (n,)."""
    if threshold is None:
        return _read_as(is_probability, lambda: _logit(score), lambda: score)
    limit = torch.as_tensor(threshold).to(score)
    return _read_as(
        is_probability, lambda: _logit(score) - _logit(limit), lambda: score - threshold
    )


def _read_as(
    is_probability: Tensor | bool,
    probability: Callable[[], Tensor],
    logit: Callable[[], Tensor],
) -> Tensor:
    """Rows read one way or the other; both ways are computed only where there are rows of both."""
    if isinstance(is_probability, bool):
        return probability() if is_probability else logit()
    read = probability()
    return torch.where(is_probability.view(-1, *(1,) * (read.ndim - 1)), read, logit())


def checked_target(target: Tensor | int, scores: Tensor) -> Tensor:
    """Return the classes to keep, one for each row, in memory of their own.

    Args:
        target: (n,) class numbers, or one for all rows.
        scores: (n, K), one for each class.

    Returns:
        (n,) int64, on the device of the scores.

    Raises:
        InvalidInputError: for another type or number of targets, and for a class that is not there.
    """
    n_rows, n_classes = scores.shape
    target = torch.as_tensor(target, device=scores.device)
    if target.is_floating_point() or target.shape not in ((), (1,), (n_rows,)):
        raise InvalidInputError(
            f"target must be one class number, or one for each of the {n_rows} rows; it is "
            f"{target.dtype} of shape {tuple(target.shape)}"
        )
    if ((target < 0) | (target >= n_classes)).any():
        raise InvalidInputError(
            f"target {target.flatten().tolist()[:8]} is not among the classes 0 to {n_classes - 1}"
        )
    return target.to(torch.int64).expand(n_rows).clone()


def _logit(probability: Tensor) -> Tensor:
    epsilon = torch.finfo(probability.dtype).eps
    return torch.logit(probability, eps=epsilon)
