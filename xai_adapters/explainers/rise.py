"""RISE: the mean of random masks, weighted by how probable the class stays under each."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from xai_adapters.model.decision import Decision
from xai_adapters.registry.claims import claims_nothing
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject
from xai_adapters.utils.rows import fastest_batch_size

_N_MASKS = 4_000
_SHOWN = 0.5
# Cells along a side of a mask; small images have one for each pixel.
_CELLS, _SMALL_SIDE = 7, 14
_BATCH = 50


@registered(baseline="mask", block_size=1, claims=claims_nothing("it needs an image"))
def rise(subject: Subject) -> Explainer:
    """RISE, 4,000 random masks of the mask's value.

    The settings are those for VGG16 of Petsiuk, Das and Saenko 2018. A pixel's score is the mean
    probability of the class over the masks, weighted by how much of the pixel each shows (their
    equation 4, divided by the sum of the weights in place of its expectation, which is less noisy).
    A mask is a grid of cells that are shown with probability one half, stretched bilinearly, and
    cut to the image at a random place.
    """
    fill = subject.mask_value()

    @torch.no_grad()
    def explain(rows: Tensor, target: Tensor) -> Tensor:
        batch_size = fastest_batch_size(rows) or _BATCH
        decision = Decision(subject.forward, rows, target, batch_size=batch_size)
        generator = Generator(rows.device).manual_seed(subject.seed)
        height, width = rows.shape[-2:]
        scores = rows.new_zeros(len(rows), 1, height, width)
        seen = torch.zeros_like(scores[0])
        for _ in range(_N_MASKS // _BATCH):
            masks = _masks(_BATCH, height, width, generator).to(rows)
            seen = seen + masks.sum(dim=0)
            for row, image in enumerate(rows):
                for some in masks.split(batch_size):
                    owner = torch.full((len(some),), row, device=rows.device)
                    shown = decision.scores(fill + some * (image - fill), owner).softmax(dim=1)
                    scores[row] += torch.einsum("m,mchw->chw", shown[:, target[row]], some)
        return (scores / seen).expand_as(rows).contiguous()

    return FunctionExplainer(explain, {"n_masks": _N_MASKS, "cells": _CELLS})


def _masks(n: int, height: int, width: int, generator: Generator) -> Tensor:
    """Masks (n, 1, height, width) with values in [0, 1], 1 for shown."""
    device = generator.device
    cells = [side if side <= _SMALL_SIDE else _CELLS for side in (height, width)]
    sizes = [-(-side // each) for side, each in zip((height, width), cells, strict=True)]
    grid = torch.rand(n, 1, *cells, generator=generator, device=device) < _SHOWN
    stretched = functional.interpolate(
        grid.float(),
        size=[(each + 1) * size for each, size in zip(cells, sizes, strict=True)],
        mode="bilinear",
        align_corners=False,
    )
    down, across = (
        torch.randint(size, (n,), generator=generator, device=device).tolist() for size in sizes
    )
    cut = [
        mask[:, top : top + height, left : left + width]
        for mask, top, left in zip(stretched, down, across, strict=True)
    ]
    return torch.stack(cut)
