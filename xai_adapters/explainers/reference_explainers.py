"""Reference explainers of the masking curve: an upper bound (greedy) and chance (random)."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.explainers.patches import patches
from xai_adapters.registry import Explainer, FunctionExplainer, Subject
from xai_adapters.utils.rows import fastest_batch_size

# The search asks about half the square of this many questions an image.
_MOST_PATCHES = 70


def random(subject: Subject) -> Explainer:
    """Uniform scores, from the global random state: what was asked before plays no part."""
    return FunctionExplainer(lambda rows, target: torch.rand(rows.shape).to(rows))


def greedy(subject: Subject) -> Explainer:
    """Mask in each step the patch without which the class stays most probable.

    The later a patch is masked, the more relevant it is. Nothing practical does better on the
    curve of masking the least relevant first.
    """
    fill = subject.mask_value()
    groups = patches(subject.background[0], _MOST_PATCHES)
    at_once = fastest_batch_size(subject.background) or _MOST_PATCHES

    @torch.no_grad()
    def order(row: Tensor, target: int) -> Tensor:
        scores = torch.zeros_like(row)
        masked = row.clone()
        left = groups.unique()
        for step in range(len(left)):
            candidates = torch.where(groups == left[:, None, None, None], fill, masked)
            outputs = torch.cat([subject.forward(some) for some in candidates.split(at_once)])
            margins = outputs.softmax(dim=1)[:, target]
            best = int(margins.argmax())
            scores[groups == left[best]] = step
            masked = candidates[best]
            left = torch.cat((left[:best], left[best + 1 :]))
        return scores

    return FunctionExplainer(
        lambda rows, target: torch.stack(
            [order(row, label) for row, label in zip(rows, target.tolist(), strict=True)]
        )
    )
