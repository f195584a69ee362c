"""A learned mask: it shows as little as the class needs to stay."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from xai_adapters.model.decision import Decision
from xai_adapters.model.state import left_as_found
from xai_adapters.registry.claims import claims_nothing
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject

_N_STEPS, _STEP_SIZE = 300, 0.1
# The paper has 1e-4 for the sum over 28 x 28 cells and 1e-2 for the sum of cubed differences
# between neighbours; as weights of means they are the same for any number of cells.
_AREA, _ROUGHNESS, _POWER = 1e-4 * 28**2, 1e-2 * 28**2, 3
# A cell is 8 pixels of 224, and the image is moved by up to 4 of them in each step.
_CELL, _JITTER = 8 / 224, 4 / 224


@registered(baseline="mask", block_size=10, claims=claims_nothing("it needs an image"))
def learned_mask(subject: Subject) -> Explainer:
    """Fong and Vedaldi: the smallest mask that keeps the class.

    The preservation game of their paper of 2017; hidden pixels take the mask's value. Adam
    minimizes area and total variation of a coarse mask minus the probability of the class under
    it. Pixels that are shown are relevant.
    """
    network, fill = subject.network(), subject.mask_value()

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        height, width = rows.shape[-2:]
        coarse = [round(side / max(1, round(side * _CELL))) for side in (height, width)]
        reach = round(height * _JITTER)
        generator = Generator(rows.device).manual_seed(subject.seed)
        every = torch.arange(len(rows), device=rows.device)
        mask = torch.full((len(rows), 1, *coarse), 0.5, dtype=rows.dtype, device=rows.device)
        optimizer = torch.optim.Adam([mask], lr=_STEP_SIZE)
        with left_as_found(network, rows.device):
            decision = Decision(network, rows, target)
            for _ in range(_N_STEPS):
                # One move for all rows, which share the draws.
                move = torch.randint(
                    -reach, reach + 1, (2,), generator=generator, device=rows.device
                ).tolist()
                with torch.enable_grad():
                    mask.requires_grad_()
                    shown = _stretched(mask, height, width)
                    points = (fill + shown * (rows - fill)).roll(move, dims=(2, 3))
                    probability = decision.scores(points, every).softmax(dim=1)
                    kept = probability.gather(1, decision.target[:, None]).sum()
                    loss = _AREA * mask.mean(dim=(1, 2, 3)).sum() + _ROUGHNESS * _rough(mask) - kept
                (mask.grad,) = torch.autograd.grad(loss, mask)
                mask.requires_grad_(False)
                optimizer.step()
                mask.clamp_(0, 1)
        return _stretched(mask, height, width).expand_as(rows).contiguous()

    return FunctionExplainer(explain, {"n_steps": _N_STEPS, "step_size": _STEP_SIZE})


def _stretched(mask: Tensor, height: int, width: int) -> Tensor:
    return functional.interpolate(mask, (height, width), mode="bilinear", align_corners=False)


def _rough(mask: Tensor) -> Tensor:
    """The mean power of the differences between neighbours, summed over rows."""
    down, across = mask.diff(dim=2).abs(), mask.diff(dim=3).abs()
    both = down.pow(_POWER).sum() + across.pow(_POWER).sum()
    return both / mask[0].numel()
