"""The linear programs of Hara et al. 2018, with the settings of their code.

All scores of a row are 0 where it is so far from a decision that all of the narrow box is safe.
"""

from __future__ import annotations

from functools import partial

import torch

from xai_adapters.box.linear_program import linear_program_box
from xai_adapters.explainers.patches import patches
from xai_adapters.registry.claims import AT_KINKS, SLOPES_JUMP, WIDTHS, Claims
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject

# Shares of a feature's range: delta of Hara et al., and the noise of the copies.
_MAX_WIDTH, _NOISE = 0.1, 0.05
# Theirs are 8 x 8 pixels of a photograph of 224 x 224; small images have a patch for each pixel.
_MAX_PATCHES = 28 * 28
# Each rival takes a backward pass of each copy.
_MAX_RIVALS = 30
_BATCH = 64

_CLAIMS: Claims = {
    **WIDTHS,
    "symmetry": "a linear program may have several solutions",
    "implementation_invariance": AT_KINKS,
    "scaling": "its objective adds widths up in the inputs' unit",
    "output_shift": 0.01,
    "input_invariance": 0.01,
    "stability": SLOPES_JUMP,
}
_program = partial(registered, unit="input", reads="probabilities", block_size=10, claims=_CLAIMS)


@_program()
def linear_program(subject: Subject) -> Explainer:
    """Hara et al.: the largest box of the linearized model."""
    return _explainer(subject, n_noisy=0)


@_program()
def linear_program_smooth(subject: Subject) -> Explainer:
    """Hara et al., linearized at ten noisy copies too."""
    return _explainer(subject, n_noisy=10)


def _explainer(subject: Subject, n_noisy: int) -> Explainer:
    network = subject.network()
    background = subject.background
    span, tied = torch.ones_like(background[0]), None
    if subject.kind == "tabular":
        span = background.amax(dim=0) - background.amin(dim=0)
        span = span.clamp(min=torch.finfo(span.dtype).tiny)
    else:
        numbers = patches(background[0], _MAX_PATCHES)
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
            n_rivals=_MAX_RIVALS,
            internal_batch_size=_BATCH,
            seed=subject.seed,
        ).scores(),
        {"max_width": _MAX_WIDTH, "n_noisy": n_noisy, "noise": _NOISE, "n_rivals": _MAX_RIVALS},
    )
