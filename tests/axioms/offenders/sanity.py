"""Maps that do not look at the model, or not at all of it."""

from __future__ import annotations

import torch
from references import GRADIENT
from torch import nn

from offenders.offender import offender


def positions(model):
    return lambda inputs, target: inputs * torch.arange(inputs.shape[1])


def edges(model):
    return lambda inputs, target: (
        inputs - inputs.roll(1, dims=1) + 0.1 * torch.arange(inputs.shape[1])
    )


def first_layer(model):
    layer = next(module for module in model.modules() if isinstance(module, nn.Linear))
    return lambda inputs, target: layer.weight.detach().norm(dim=0).expand_as(inputs)


def half_of_it_positions(model):
    explain = GRADIENT.make(model)
    return lambda inputs, target: explain(inputs, target) + 20 * torch.arange(inputs.shape[1])


def constant(model):
    return lambda inputs, target: torch.ones_like(inputs)


OFFENDERS = [
    offender("a constant", "model_randomization", constant, GRADIENT),
    offender("a constant", "label_randomization", constant, GRADIENT),
    offender("positions", "model_randomization", positions, GRADIENT),
    offender("an edge detector", "model_randomization", edges, GRADIENT),
    offender("the first layer alone", "model_randomization", first_layer, GRADIENT),
    offender("positions", "label_randomization", positions, GRADIENT),
    offender("positions above all", "label_randomization", half_of_it_positions, GRADIENT),
]
