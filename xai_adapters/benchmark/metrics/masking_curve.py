"""The masking curve: what a model says while an image's pixels are masked one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

THRESHOLDS = tuple(step / 20 for step in range(21))

Fill = Literal["gray", "black", "white", "mean", "blur"]
FILLS: tuple[Fill, ...] = get_args(Fill)
VALUES = {"gray": 0.5, "black": 0.0, "white": 1.0}
_TIE = 1e-6
# Of an image's side; a blur as wide leaves colours and no shapes.
_BLUR = 0.1


def relevance_ranks(scores: Tensor, *, by_magnitude: bool, seed: int = 0) -> Tensor:
    """Rank each image's pixels from the least relevant (0) to the most.

    A pixel's relevance is the mean of its channels' scores (or magnitudes). Ties are broken at
    random, by one order of pixels for all images, so that a map of equal values gains nothing from
    where its pixels lie. What differs by less than a millionth of the map's largest magnitude is a
    tie: rounding alone makes as much of a difference, another one in a block of another size.

    Args:
        scores: (n, channels, height, width), larger is more relevant.
        by_magnitude: rank by the scores' magnitudes.
        seed: of the order among ties.

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
    """What masked pixels of images (n, channels, height, width) become, to be broadcast over them.

    Args:
        images: in [0, 1].
        fill: a value, one of its names, the "mean" of each image's channels, or a "blur" of it.

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
    """Images under a Gaussian blur, mirrored at their edges."""
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
    ask: Callable[[Tensor], Tensor],
    images: Tensor,
    ranks: Tensor,
    *,
    fill: Fill | float,
    thresholds: Sequence[float] = THRESHOLDS,
    batch_size: int = 64,
    most_relevant_first: bool = False,
) -> Tensor:
    """What a model says of images of which a share of the pixels is masked.

    Ikeno and Hara 2018, section 4.2, mask the least relevant first; the other way round it is
    "deletion" (Petsiuk et al. 2018). What is left unmasked are then the most relevant pixels: the
    same answers, read from the end, are those of "insertion".

    Args:
        ask: gives answers (m, ...) for images (m, channels, height, width).
        images: (n, channels, height, width).
        ranks: (n, height * width), as `relevance_ranks` gives.
        fill: what a masked pixel becomes; see `filling`.
        thresholds: shares of the pixels to mask, in [0, 1].
        batch_size: images in one call.
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
    found = []
    for some in places.split(batch_size):
        row, threshold = some // len(counts), some % len(counts)
        hidden = ranks[row] < counts[threshold, None]
        masked = torch.where(hidden.view(-1, 1, *images.shape[2:]), filled[row], images[row])
        found.append(ask(masked))
    answers = torch.cat(found)
    return answers.view(len(images), len(counts), *answers.shape[1:])
