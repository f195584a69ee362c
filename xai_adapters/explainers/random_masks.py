"""RISE: the mean of random masks, weighted by how probable the class stays under each."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from xai_adapters.model.decision import Decision
from xai_adapters.registry import Explainer, FunctionExplainer, Subject
from xai_adapters.utils.rows import fastest_batch_size

_N_MASKS = 4_000
_SHOWN = 0.5
# Cells along a side of a mask; small images have one a pixel.
_CELLS, _SMALL = 7, 14
_BATCH = 50


def rise(subject: Subject) -> Explainer:
    """RISE with the settings for VGG16 (Petsiuk, Das and Saenko 2018); hidden is the mask's value.

    A pixel's score is the mean probability of the class where the pixel is shown, each image
    weighted by how much of it is (their equation 4, divided by what was drawn in place of its
    expectation, which is less noisy). A mask is a grid of cells that are shown with probability one
    half, stretched bilinearly, and cut to the image at a random place.
    """
    fill = subject.mask_value()

    @torch.no_grad()
    def explain(rows: Tensor, target: Tensor) -> Tensor:
        at_once = fastest_batch_size(rows) or _BATCH
        decision = Decision(subject.forward, rows, target, batch_size=at_once)
        generator = Generator(rows.device).manual_seed(subject.seed)
        height, width = rows.shape[-2:]
        scores = rows.new_zeros(len(rows), 1, height, width)
        seen = torch.zeros_like(scores[0])
        for _ in range(_N_MASKS // _BATCH):
            masks = _masks(_BATCH, height, width, generator).to(rows)
            seen = seen + masks.sum(dim=0)
            for row, image in enumerate(rows):
                for some in masks.split(at_once):
                    owner = torch.full((len(some),), row, device=rows.device)
                    shown = decision.scores(fill + some * (image - fill), owner).softmax(dim=1)
                    scores[row] += torch.einsum("m,mchw->chw", shown[:, target[row]], some)
        return (scores / seen).expand_as(rows).contiguous()

    return FunctionExplainer(explain)


def _masks(n: int, height: int, width: int, generator: Generator) -> Tensor:
    """Masks (n, 1, height, width) with values in [0, 1], 1 for shown."""
    device = generator.device
    cells = [side if side <= _SMALL else _CELLS for side in (height, width)]
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
