"""Maps that jump, or that an adversary can choose."""

from __future__ import annotations

import torch
from references import GRADIENT, OCCLUSION, OCCLUSION_OF_LINEAR_MODELS, with_rule
from torch import nn

from offenders.offender import altered, offender
from xai_adapters.axioms import Domain, explainer

# The slope of a linear model is the same everywhere: no input has another map.
SLOPE_OF_LINEAR_MODELS = explainer(
    "slope", GRADIENT.make, {"manipulation": 0.5}, domain=Domain.linear()
)


def jumps(a, rows, target, model):
    return a + (rows.sum(dim=1, keepdim=True) > rows.sum()) + torch.sign(rows - rows.mean())


def winner_takes_all(a, rows, *_):
    return nn.functional.one_hot(rows.argmax(dim=1), rows.shape[1]) * a.abs().sum(1, keepdim=True)


def waves(forward, row):
    return 50 * torch.sin(100 * row)


OFFENDERS = [
    offender("the largest value takes all", "stability",
             altered(OCCLUSION, winner_takes_all), OCCLUSION),
    offender("signs of the rows", "stability", altered(OCCLUSION, jumps), OCCLUSION),
    offender("a hundred times too steep", "stability",
             altered(OCCLUSION_OF_LINEAR_MODELS, lambda a, rows, *_: a + 100 * rows),
             OCCLUSION_OF_LINEAR_MODELS),
    offender("waves", "manipulation", with_rule(waves), SLOPE_OF_LINEAR_MODELS),
    offender("whatever the free features say", "manipulation",
             altered(SLOPE_OF_LINEAR_MODELS, lambda a, rows, *_: a + 30 * rows % 7),
             SLOPE_OF_LINEAR_MODELS),
]  # fmt: skip
