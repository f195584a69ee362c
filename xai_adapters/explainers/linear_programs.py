"""Makers of the linear programs of Hara et al. 2018, with the settings of their code.

Where a row is so far from a decision that all of their narrow box is safe, no feature is told from
another: its scores are all 0.
"""

from __future__ import annotations

import torch

from xai_adapters.box.linear_program import linear_program_box
from xai_adapters.explainers.patches import patches
from xai_adapters.registry import Explainer, FunctionExplainer, Subject

# Shares of a feature's range: delta of Hara et al., and the noise of the copies.
_MAX_WIDTH, _NOISE = 0.1, 0.05
# Theirs are 8 x 8 pixels of a photograph of 224 x 224; small images have a patch for each pixel.
_MOST_PATCHES = 28 * 28
# Each rival takes a backward pass of each copy.
_MOST_RIVALS = 30
_BATCH = 64


def linear_program(subject: Subject) -> Explainer:
    """The program with gradients at the row."""
    return _program(subject, n_noisy=0)


def linear_program_smooth(subject: Subject) -> Explainer:
    """The program with gradients at the row and at ten noisy copies."""
    return _program(subject, n_noisy=10)


def _program(subject: Subject, n_noisy: int) -> Explainer:
    network = subject.network()
    background = subject.background
    span, tied = torch.ones_like(background[0]), None
    if subject.kind == "tabular":
        span = background.amax(dim=0) - background.amin(dim=0)
        span = span.clamp(min=torch.finfo(span.dtype).tiny)
    else:
        numbers = patches(background[0], _MOST_PATCHES)
        # Each channel has widths of its own.
        channel = torch.arange(len(numbers), device=numbers.device)[:, None, None]
        tied = (numbers + channel * (numbers.max() + 1))[None]
    return FunctionExplainer(
        lambda rows, target: linear_program_box(
            network,
            rows,
            target,
            tied=tied,
            max_width=_MAX_WIDTH * span,
            n_noisy=n_noisy,
            noise=_NOISE * span,
            n_rivals=_MOST_RIVALS,
            internal_batch_size=_BATCH,
            seed=subject.seed,
        ).scores()
    )
