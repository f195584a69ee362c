"""FIMAP's perturbations as attributions for a class."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.fimap.explainer import MinimalPerturbation


def targeted_attributions(
    explainer: MinimalPerturbation, rows: Tensor, original_class: Tensor, target: Tensor
) -> Tensor:
    """Return attributions (n, d) in the direction of a class, in the features' units.

    For another class it is the smallest perturbation that reaches it; for the row's own class it
    is minus the smallest one that leaves it, as in the paper.

    Args:
        explainer: fitted.
        rows: (n, d).
        original_class: (n,) the class each row has.
        target: (n,) the class its attribution is for.

    Example:
        >>> X = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
        >>> explainer = MinimalPerturbation(epochs=3).fit(X, lambda X: X[:, 0] > 0)
        >>> row, one = torch.ones(1, 1), torch.tensor([1])
        >>> bool(targeted_attributions(explainer, row, original_class=one, target=one) > 0)
        True
    """
    attributions = torch.empty_like(rows)
    leaving = original_class == target
    for some, goal, sign in ((leaving, None, -1), (~leaving, target[~leaving], 1)):
        if some.any():
            result = explainer.perturb(rows[some], goal, original_class=original_class[some])
            attributions[some] = sign * result.perturbation
    return attributions
