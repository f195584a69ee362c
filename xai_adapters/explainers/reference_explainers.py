"""Reference explainers of the masking curve: an upper bound from a search for it, and chance."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.explainers.patches import patches
from xai_adapters.registry.claims import GLOBAL_GENERATORS, SOFTWARE_CONTRACT, claims_nothing
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject
from xai_adapters.utils.rows import fastest_batch_size

# The search asks the model about half the square of this many images for each image.
_MAX_PATCHES = 70
_SAYS_NOTHING = "it says nothing about the model"


@registered(
    baseline="mask",
    block_size=1,
    claims=claims_nothing("it needs an image, and is a bound for other explainers"),
    role="upper bound",
)
def greedy(subject: Subject) -> Explainer:
    """Greedy search on the masking curve: the upper bound.

    Each step masks the patch without which the class stays most probable; the later a patch is
    masked, the more relevant it is. No practical explainer does better on the curve of masking the
    least relevant first.
    """
    fill = subject.mask_value()
    groups = patches(subject.background[0], _MAX_PATCHES)
    batch_size = fastest_batch_size(subject.background) or _MAX_PATCHES

    @torch.no_grad()
    def order(row: Tensor, target: int) -> Tensor:
        scores = torch.zeros_like(row)
        masked = row.clone()
        left = groups.unique()
        for step in range(len(left)):
            candidates = torch.where(groups == left[:, None, None, None], fill, masked)
            outputs = torch.cat([subject.forward(some) for some in candidates.split(batch_size)])
            best = int(outputs.softmax(dim=1)[:, target].argmax())
            scores[groups == left[best]] = step
            masked = candidates[best]
            left = torch.cat((left[:best], left[best + 1 :]))
        return scores

    return FunctionExplainer(
        lambda rows, target: torch.stack(
            [order(row, label) for row, label in zip(rows, target.tolist(), strict=True)]
        ),
        {"max_patches": _MAX_PATCHES},
    )


@registered(
    block_size=1,
    claims={
        **claims_nothing(_SAYS_NOTHING),
        **SOFTWARE_CONTRACT,
        "batch_independence": _SAYS_NOTHING,
        "seed_independence": GLOBAL_GENERATORS,
        "random_state_kept": GLOBAL_GENERATORS,
    },
    role="chance",
)
def random(subject: Subject) -> Explainer:
    """Random scores: chance.

    They come from the global random state: what was explained before plays no part.
    """
    return FunctionExplainer(lambda rows, target: torch.rand(rows.shape).to(rows))
