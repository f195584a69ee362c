"""The masking curve: how many decisions change when the least relevant pixels are masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

THRESHOLDS = tuple(step / 20 for step in range(21))


def relevance_ranks(scores: Tensor, *, by_magnitude: bool, seed: int = 0) -> Tensor:
    """Rank each image's pixels from the least relevant (0) to the most.

    A pixel's relevance is the mean of its channels' scores (or magnitudes). Ties are broken at
    random, by one order of pixels for all images, so that a map of equal values gains nothing from
    where its pixels lie.

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
    relevance = (scores.abs() if by_magnitude else scores).mean(dim=1).flatten(1)
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(relevance.shape[1], generator=generator).to(relevance.device)
    order = shuffled[relevance[:, shuffled].argsort(dim=1, stable=True)]
    ranks = torch.empty_like(order)
    return ranks.scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )


def changed_decisions(
    classify: Callable[[Tensor], Tensor],
    images: Tensor,
    ranks: Tensor,
    *,
    fill: float,
    thresholds: Sequence[float] = THRESHOLDS,
    batch_size: int = 64,
    original: Tensor | None = None,
) -> Tensor:
    """Whether the class changes when the least relevant share of the pixels is masked.

    Ikeno and Hara 2018, section 4.2.

    Args:
        classify: gives classes (m,) for images (m, channels, height, width).
        images: (n, channels, height, width).
        ranks: (n, height * width), as `relevance_ranks` gives.
        fill: the value a masked pixel takes in every channel.
        thresholds: shares of the pixels to mask, in [0, 1].
        batch_size: images in one call of `classify`.
        original: (n,) classes of the images; asked for if None.

    Returns:
        (n, thresholds) bool.
    """
    n_pixels = ranks.shape[1]
    counts = torch.tensor([round(share * n_pixels) for share in thresholds], device=images.device)
    # Each pixel's masks as a column of thresholds, so that a batch can start anywhere among them.
    hidden = (ranks[:, None, :] < counts[:, None]).flatten(0, 1)
    owner = torch.arange(len(images), device=images.device).repeat_interleave(len(counts))
    found = []
    for mask, row in zip(hidden.split(batch_size), owner.split(batch_size), strict=True):
        masked = images[row].masked_fill(mask.view(-1, 1, *images.shape[2:]), fill)
        found.append(classify(masked))
    if original is None:
        original = torch.cat([classify(some) for some in images.split(batch_size)])
    return torch.cat(found).view(len(images), -1) != original[:, None]
