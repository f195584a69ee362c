"""Attributions that may be right, from software that cannot be relied on."""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
from references import GRADIENT, OCCLUSION, SHAPLEY, with_rule
from torch import Generator

from offenders.offender import altered, offender

CALLS = itertools.count()
UNSEEDED = random.SystemRandom()


def noisy_by_position(a, *_):
    noise = torch.randn(a.shape, generator=Generator().manual_seed(0), dtype=a.dtype)
    return a + 0.01 * noise


def for_the_first_target(model):
    explain = OCCLUSION.make(model)
    return lambda inputs, target: explain(inputs, target[:1].expand(len(inputs)))


def seeds_torch(a, *_):
    torch.manual_seed(0)
    return a


def draws_from_numpy(a, *_):
    np.random.rand(3)  # noqa: NPY002
    return a


def draws_from_random(a, *_):
    random.random()
    return a


def leaks_a_hook(a, rows, target, model):
    next(model.modules()).register_forward_hook(lambda *given: None)
    return a


def leaves_eval(a, rows, target, model):
    model.eval()
    return a


def fills_grad(a, rows, target, model):
    with torch.enable_grad():
        model(rows).sum().backward()
    return a


def thaws_parameters(a, rows, target, model):
    model.requires_grad_(True)
    return a


def clips_in_place(a, rows, target, model):
    rows.clamp_(-1, 1)
    return a


def leaves_an_attribute(a, rows, target, model):
    model.explained = True
    return a


def leaves_grad_mode(a, *_):
    torch.set_grad_enabled(False)
    return a


def scales_weights(a, rows, target, model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 1e-6)
    return a


def without_finally(model):
    explain = OCCLUSION.make(model)

    def hooked(inputs, target):
        handle = next(model.modules()).register_forward_hook(lambda *given: None)
        found = explain(inputs, target)
        handle.remove()
        return found

    return hooked


def eval_without_finally(model):
    explain = OCCLUSION.make(model)

    def evaluated(inputs, target):
        before = model.training
        model.eval()
        found = explain(inputs, target)
        model.train(before)
        return found

    return evaluated


def ignores_the_second_part(a, inputs, target, model):
    return (a[0], 0 * a[1]) if isinstance(a, tuple) else a


def scales_each_part(a, inputs, target, model):
    def scaled(part):
        return part / part.abs().sum(dim=1, keepdim=True).clamp(min=1e-9)

    return tuple(map(scaled, a)) if isinstance(a, tuple) else scaled(a)


def class_0_for_no_dimensions(model):
    explain = OCCLUSION.make(model)
    return lambda inputs, target: explain(
        inputs, 0 if torch.is_tensor(target) and target.ndim == 0 else target
    )


def attached(forward, row):
    return row.clone().requires_grad_() * forward(row)


def changes(name, axiom, change, good=OCCLUSION):
    return offender(name, axiom, altered(good, change), good)


OFFENDERS = [
    changes("less the batch's mean", "batch_independence", lambda a, *_: a - a.mean(dim=0)),
    changes("divided by the batch's largest", "batch_independence",
            lambda a, *_: a / a.abs().amax().clamp(min=1e-9), GRADIENT),
    changes("noise by position", "batch_independence", noisy_by_position),
    offender("the first row's target for all", "batch_independence", for_the_first_target,
             OCCLUSION),
    changes("counts its calls", "determinism", lambda a, *_: a + 1e-3 * next(CALLS)),
    changes("unseeded noise", "determinism", lambda a, *_: a + UNSEEDED.random(), SHAPLEY),
    changes("noise of torch's seed", "seed_independence",
            lambda a, *_: a + 1e-3 * torch.randn(a.shape)),
    changes("noise of numpy's seed", "seed_independence",
            lambda a, *_: a + 1e-3 * np.random.rand()),  # noqa: NPY002
    changes("noise of Python's seed", "seed_independence",
            lambda a, *_: a + 1e-3 * random.random(), GRADIENT),
    changes("sets torch's seed", "random_state_kept", seeds_torch),
    changes("draws from numpy", "random_state_kept", draws_from_numpy),
    changes("draws from random", "random_state_kept", draws_from_random, GRADIENT),
    changes("divided by its sum", "well_formed", lambda a, *_: a / a.sum(dim=1, keepdim=True)),
    changes("exponentials", "well_formed", lambda a, *_: a.exp()),
    changes("in single precision", "well_formed", lambda a, *_: a.float()),
    changes("without the last column", "well_formed", lambda a, *_: a[:, :-1]),
    changes("squeezed", "well_formed", lambda a, *_: a.squeeze()),
    changes("a list", "well_formed", lambda a, *_: a.tolist()),
    offender("attached to the graph", "well_formed", with_rule(attached), OCCLUSION),
    changes("leaks a hook", "left_as_found", leaks_a_hook),
    changes("leaves eval mode", "left_as_found", leaves_eval),
    changes("fills grad", "left_as_found", fills_grad),
    changes("thaws parameters", "left_as_found", thaws_parameters),
    changes("clips rows in place", "left_as_found", clips_in_place),
    changes("leaves an attribute", "left_as_found", leaves_an_attribute),
    changes("leaves grad mode", "left_as_found", leaves_grad_mode),
    changes("moves the weights", "left_as_found", scales_weights),
    offender("a hook without finally", "left_as_found_after_error", without_finally, OCCLUSION),
    offender("a mode without finally", "left_as_found_after_error", eval_without_finally,
             OCCLUSION),
    changes("ignores a tuple's second part", "inputs_in_parts", ignores_the_second_part),
    offender("scales each part by itself", "inputs_in_parts",
             altered(OCCLUSION, scales_each_part), OCCLUSION),
    offender("class 0 for a tensor without dimensions", "target_forms",
             class_0_for_no_dimensions, OCCLUSION),
]  # fmt: skip
