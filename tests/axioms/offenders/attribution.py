"""Attributions that say something false about the function."""

from __future__ import annotations

import torch
from references import (
    GRADIENT,
    INTEGRATED_GRADIENTS,
    OCCLUSION,
    SAMPLED_SHAPLEY,
    SHAPLEY,
    slope,
    with_rule,
)
from torch import nn

from offenders.offender import altered, offender


def riemann(forward, row, n_steps=8):
    at = (torch.arange(n_steps) / n_steps)[:, None] * row
    return row * slope(forward, at).mean(dim=0)


def in_one_order(forward, row):
    present, found = torch.zeros_like(row), torch.zeros_like(row)
    for i in range(row.shape[1]):
        before = forward(present)
        present[0, i] = row[0, i]
        found[0, i] = (forward(present) - before).item()
    return found


def coarse_slope(forward, row):
    steps = 0.5 * torch.eye(row.shape[1], dtype=row.dtype)
    return (forward(row + steps) - forward(row - steps))[None]


def with_rest_to_last(a, rows, target, model):
    gain = (model(rows) - model(0 * rows)).gather(1, target[:, None])[:, 0]
    return torch.cat((a[:, :-1], (a[:, -1] + gain - a.sum(dim=1))[:, None]), dim=1)


def spread(a, rows, target, model):
    return 0.9 * a + 0.1 * a.mean(dim=1, keepdim=True)


def smoothed(a, rows, target, model):
    return (a + a.roll(1, dims=1)) / 2


def by_the_number_of_modules(a, rows, target, model):
    return a * len(list(model.modules()))


def relu_modules_count_twice(a, rows, target, model):
    return a * (1 + any(isinstance(module, nn.ReLU) for module in model.modules()))


def product_of_weights(model):
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]

    def explain(inputs, target):
        product = layers[0].weight.detach()
        for layer in layers[1:]:
            product = layer.weight.detach() @ product
        return product[target]

    return explain


def times_output(a, rows, target, model):
    return a * model(rows).detach().gather(1, target[:, None])


def with_share_of_bias(a, rows, target, model):
    return a + model(0 * rows).detach().gather(1, target[:, None]) / rows.shape[1]


OFFENDERS = [
    offender("off by a constant", "completeness",
             altered(SHAPLEY, lambda a, *_: a + 0.01), SHAPLEY),
    offender("two per cent too large", "completeness",
             altered(SHAPLEY, lambda a, *_: 1.02 * a), SHAPLEY),
    offender("without signs", "completeness",
             altered(SHAPLEY, lambda a, *_: a.abs()), SHAPLEY),
    offender("a sum of eight steps", "completeness", with_rule(riemann), INTEGRATED_GRADIENTS),
    offender("small shares dropped", "completeness",
             altered(SHAPLEY, lambda a, *_: a * (a.abs() > 0.5)), SHAPLEY),
    offender("the slope", "sensitivity", with_rule(slope), INTEGRATED_GRADIENTS),
    offender("shares below one dropped", "sensitivity",
             altered(SHAPLEY, lambda a, *_: a * (a.abs() >= 1)), SHAPLEY),
    offender("positive evidence alone", "sensitivity",
             altered(SHAPLEY, lambda a, *_: a.clamp(min=0)), SHAPLEY),
    offender("a tenth spread over all", "dummy", altered(SHAPLEY, spread), SHAPLEY),
    offender("mixed with the neighbour", "dummy", altered(GRADIENT, smoothed), GRADIENT),
    offender("the rest to the last feature", "dummy",
             altered(OCCLUSION, with_rest_to_last), OCCLUSION),
    offender("the row's values added", "dummy",
             altered(GRADIENT, lambda a, rows, *_: a + 1e-3 * rows), GRADIENT),
    offender("divided by the largest", "linearity",
             altered(SHAPLEY, lambda a, *_: a / a.abs().amax(1, keepdim=True).clamp(min=1e-9)),
             SHAPLEY),
    offender("squared", "linearity", altered(GRADIENT, lambda a, *_: a**2), GRADIENT),
    offender("without signs", "additivity", altered(GRADIENT, lambda a, *_: a.abs()), GRADIENT),
    offender("shares of one", "additivity",
             altered(OCCLUSION, lambda a, *_: a / a.abs().sum(1, keepdim=True).clamp(min=1e-9)),
             OCCLUSION),
    offender("features in one order", "symmetry", with_rule(in_one_order), SHAPLEY),
    offender("eight orders", "symmetry", SAMPLED_SHAPLEY.make, SHAPLEY),
    offender("one per cent more for later features", "symmetry",
             altered(GRADIENT, lambda a, *_: a * (1 + 0.01 * torch.arange(a.shape[1]))), GRADIENT),
    offender("multiplied by the number of modules", "implementation_invariance",
             altered(OCCLUSION, by_the_number_of_modules), OCCLUSION),
    offender("modules of ReLUs seen", "implementation_invariance",
             altered(OCCLUSION, relu_modules_count_twice), OCCLUSION),
    offender("weights multiplied", "implementation_invariance", product_of_weights, OCCLUSION),
    offender("in units of the row's length", "scaling",
             altered(GRADIENT, lambda a, rows, *_: a / (1 + rows.norm(dim=1, keepdim=True))),
             GRADIENT),
    offender("a coarse difference for the slope", "scaling", with_rule(coarse_slope), GRADIENT),
    offender("the slope for the share", "scaling", with_rule(slope), OCCLUSION),
    offender("multiplied by the output", "output_shift",
             altered(GRADIENT, times_output), GRADIENT),
    offender("the bias shared out", "output_shift",
             altered(OCCLUSION, with_share_of_bias), OCCLUSION),
    offender("multiplied by the input", "input_invariance",
             altered(GRADIENT, lambda a, rows, *_: a * rows), GRADIENT),
    offender("nothing where the input is 0", "input_invariance",
             altered(GRADIENT, lambda a, rows, *_: a * (rows != 0)), GRADIENT),
    offender("wrong sign for one class", "target_consistency",
             altered(SHAPLEY, lambda a, rows, target, *_: a * (1 - 2 * target[:, None])), SHAPLEY),
    offender("always the first class", "target_consistency",
             lambda model: lambda inputs, target: GRADIENT.make(model)(inputs, 0 * target),
             GRADIENT),
    offender("the wrong class where all outputs are positive", "target_consistency",
             lambda model: lambda inputs, target: OCCLUSION.make(model)(
                 inputs, torch.where((model(inputs) > 0).all(dim=1), 0, target)
             ), OCCLUSION),
]  # fmt: skip
