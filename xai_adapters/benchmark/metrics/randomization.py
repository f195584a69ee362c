"""Models whose layers are randomised, for the check whether an explainer looks at the model."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)

# Of the layers, from the output on.
SHARES = (0.25, 0.5, 0.75, 1.0)


def layers(model: nn.Module) -> list[nn.Module]:
    """The modules that have parameters of their own, in the order in which they are registered."""
    return [module for module in model.modules() if [*module.parameters(recurse=False)]]


@torch.no_grad()
def randomized(model: Model, share: float, seed: int) -> Model:
    """A copy of a model whose last layers hold random numbers in place of what they learned.

    Adebayo et al. 2018, section 3: "cascading randomization". Each parameter is drawn from a normal
    distribution of mean 0 that has the size (root mean square) of the parameter. With the same seed
    a layer holds the same numbers whatever the share.

    Args:
        model: left as it is. Its layers are taken to follow one another as they are registered.
        share: of its layers, in [0, 1], rounded up; the last ones are randomised.
        seed: of the numbers.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        >>> changed = randomized(model, 0.5, seed=0)
        >>> torch.equal(changed[0].weight, model[0].weight)
        True
        >>> torch.equal(changed[1].weight, model[1].weight)
        False
    """
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    found = layers(model)[::-1]
    for layer in found[: math.ceil(share * len(found))]:
        for parameter in layer.parameters(recurse=False):
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.copy_(noise * parameter.square().mean().sqrt())
    return model
