"""Masking images: the order of the pixels, what replaces them, and the model's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

THRESHOLDS = tuple(step / 20 for step in range(21))

Fill = Literal["gray", "black", "white", "mean", "blur"]
# What masked pixels become, in words.
FILLS: dict[Fill, str] = {
    "gray": "gray", "black": "black", "white": "white", "mean": "the mean of their image",
    "blur": "blurred",
}  # fmt: skip
VALUES = {"gray": 0.5, "black": 0.0, "white": 1.0}
_TIE = 1e-6
# Share of an image's side; so wide a blur leaves colours but no shapes.
_BLUR = 0.1


def relevance_ranks(scores: Tensor, *, by_magnitude: bool, seed: int = 0) -> Tensor:
    """Rank each image's pixels from the least relevant (0) to the most.

    A pixel's relevance is the mean of its channels' scores (or magnitudes). Ties are broken at
    random, by one order of pixels for all images, so that a constant map does not profit from the
    position of its pixels. Scores that differ by less than a millionth of the map's largest
    magnitude are tied: rounding alone makes such differences, and they vary with the block size.

    Args:
        scores: (n, channels, height, width), larger is more relevant.
        by_magnitude: rank by the scores' magnitudes.
        seed: of the order of ties.

    Returns:
        (n, height * width) integers.

    Example:
        >>> scores = torch.tensor([[[[3.0, -9.0], [1.0, 2.0]]]])
        >>> relevance_ranks(scores, by_magnitude=False).tolist()
        [[3, 0, 1, 2]]
    """
    relevance = (scores.abs() if by_magnitude else scores).double().mean(dim=1).flatten(1)
    largest = relevance.abs().amax(dim=1, keepdim=True)
    relevance = (relevance / largest.where(largest > 0, 1.0) / _TIE).round()
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(relevance.shape[1], generator=generator).to(relevance.device)
    order = shuffled[relevance[:, shuffled].argsort(dim=1, stable=True)]
    ranks = torch.empty_like(order)
    return ranks.scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )


def filling(images: Tensor, fill: Fill | float) -> Tensor:
    """Replacement of masked pixels, broadcastable to images (n, channels, height, width).

    Args:
        images: in [0, 1].
        fill: a value, the name of one, the "mean" of each image's channels, or a "blur" of it.

    Example:
        >>> filling(torch.tensor([[[[0.0, 1.0]]]]), "mean").item()
        0.5
    """
    if fill == "mean":
        return images.mean(dim=(2, 3), keepdim=True)
    if fill == "blur":
        return _blurred(images)
    value = VALUES[fill] if isinstance(fill, str) else fill
    return images.new_full((1, 1, 1, 1), value)


def _blurred(images: Tensor) -> Tensor:
    """Images with a Gaussian blur, mirrored at their edges."""
    height, width = images.shape[2:]
    for axis, side in ((2, height), (3, width)):
        deviation = max(1.0, _BLUR * side)
        reach = min(round(2 * deviation), side - 1)
        at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
        kernel = (-(at**2) / (2 * deviation**2)).exp()
        shape = [1, 1, 1, 1]
        shape[axis] = len(kernel)
        margins = [0, 0, reach, reach] if axis == 2 else [reach, reach, 0, 0]
        padded = pad(images, margins, mode="reflect").flatten(0, 1)[:, None]
        images = conv2d(padded, (kernel / kernel.sum()).view(shape)).view_as(images)
    return images


def masked_answers(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    ranks: Tensor,
    *,
    fill: Fill | float,
    thresholds: Sequence[float] = THRESHOLDS,
    batch_size: int = 64,
    most_relevant_first: bool = False,
) -> Tensor:
    """A model's answers for images of which a share of the pixels is masked.

    Ikeno and Hara 2018, section 4.2, mask the least relevant pixels first. The opposite order is
    "deletion" (Petsiuk et al. 2018). Read backwards, the answers for the first order are those of
    "insertion", as the pixels left unmasked are the most relevant ones.

    Args:
        predict: returns answers (m, ...) for images (m, channels, height, width).
        images: (n, channels, height, width).
        ranks: (n, height * width), as `relevance_ranks` gives.
        fill: what a masked pixel becomes; see `filling`.
        thresholds: shares of the pixels to mask, in [0, 1].
        batch_size: images in one call of `predict`.
        most_relevant_first: mask in the opposite order.

    Returns:
        (n, thresholds, ...).
    """
    n_pixels = ranks.shape[1]
    if most_relevant_first:
        ranks = n_pixels - 1 - ranks
    filled = filling(images, fill).expand_as(images)
    counts = torch.tensor([round(share * n_pixels) for share in thresholds], device=images.device)
    places = torch.arange(len(images) * len(counts), device=images.device)
    answers: list[Tensor] = []
    for some in places.split(batch_size):
        row, threshold = some // len(counts), some % len(counts)
        hidden = ranks[row] < counts[threshold, None]
        masked = torch.where(hidden.view(-1, 1, *images.shape[2:]), filled[row], images[row])
        answers.append(predict(masked))
    joined = torch.cat(answers)
    return joined.view(len(images), len(counts), *joined.shape[1:])
