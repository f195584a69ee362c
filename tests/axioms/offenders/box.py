"""Boxes that are invariant by proof, and some that are wrong in one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from offenders.counterfactual import layer_of
from offenders.offender import Offender, offender
from xai_adapters.axioms import Domain, Explainer, explainer

Widths = Callable[[nn.Module, Tensor, int, Tensor], Tensor]


def row_by_row(widths: Widths) -> Callable[[nn.Module], Any]:
    """A maker of boxes from half widths (d,) of a row (d,), its class and the bound C (d,)."""

    def make(model: nn.Module) -> Any:
        @torch.no_grad()
        def boxes(rows: Tensor, target: Tensor, max_width: Any = 1.0) -> Tensor:
            bound = torch.as_tensor(max_width, dtype=rows.dtype).expand(rows.shape[1])
            return torch.stack(
                [
                    widths(model, row, label, bound)
                    for row, label in zip(rows, target.tolist(), strict=True)
                ]
            )

        return boxes

    return make


def planes_around(model: nn.Module, row: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """The lead (K - 1,) of a row's class over each other, and its slopes (K - 1, d)."""
    weight, bias = layer_of(model)
    others = [k for k in range(len(bias)) if k != label]
    slope = weight[label] - weight[others]
    return slope @ row + bias[label] - bias[others], slope


def widest_share(lead: Tensor, slope: Tensor, bound: Tensor) -> Tensor:
    """The largest share in [0, 1] of a box that keeps all leads.

    In the corner where class k comes nearest, its lead is smaller by |slope_k| . w.
    """
    reach = slope.abs() @ bound
    return torch.where(reach > 0, lead / reach, torch.inf).amin().clamp(0, 1)


def proportional(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """The largest box of a linear model whose relevant widths are one share of the bound."""
    lead, slope = planes_around(model, row, label)
    share = widest_share(lead, slope, bound)
    return torch.where((slope == 0).all(dim=0), bound, share * bound)


def bounded_lead(model: nn.Module, row: Tensor, label: int, width: Tensor) -> float:
    """A lower bound, by interval arithmetic, of a class's lead in a box."""
    lower, upper = row - width, row + width
    *layers, last = [layer for layer in model if not isinstance(layer, nn.Softmax)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            middle, half = layer((lower + upper) / 2), layer.weight.abs() @ (upper - lower) / 2
            lower, upper = middle - half, middle + half
        else:
            lower, upper = layer(lower), layer(upper)
    others = [k for k in range(last.out_features) if k != label]
    slope = last.weight[label] - last.weight[others]
    lead = slope @ ((lower + upper) / 2) + last.bias[label] - last.bias[others]
    return float((lead - slope.abs() @ (upper - lower) / 2).amin())


def by_intervals(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """The largest share of the bound that interval arithmetic certifies."""
    low, high = 0.0, 1.0
    if bounded_lead(model, row, label, bound) >= 0:
        return bound
    for _ in range(30):
        middle = (low + high) / 2
        if bounded_lead(model, row, label, middle * bound) >= 0:
            low = middle
        else:
            high = middle
    return low * bound


PROPORTIONAL = explainer(
    "proportional",
    row_by_row(proportional),
    {
        "sampled_invariance": 0, "attack_inside": 0, "width_within_bound": 0,
        "monotone_in_bound": 0, "irrelevant_width": 0, "box_scaling": 0, "box_permutation": 0,
        "box_batch_independence": 0,
    },
    domain=Domain.linear(),
)  # fmt: skip
BY_INTERVALS = explainer(
    "by_intervals",
    row_by_row(by_intervals),
    {
        **PROPORTIONAL.claims,
        "irrelevant_width": "all widths are one share of the bound",
    },
    domain=Domain(activations=("relu", "tanh", "sigmoid", "softplus"), styles=("module",)),
)

GOOD: list[Explainer] = [PROPORTIONAL, BY_INTERVALS]


# Offenders.


def times(factor: float, widths: Widths = proportional) -> Any:
    def changed(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
        return factor * widths(model, row, label, bound)

    return row_by_row(changed)


def runner_up_alone(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """Safe from the class that comes second at the row, not from a third."""
    lead, slope = planes_around(model, row, label)
    second = lead.argmin()
    return widest_share(lead[second : second + 1], slope[second : second + 1], bound) * bound


def as_draws_allow(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """The largest of 64 shares of the bound of which 64 draws show no other class."""
    draws = 2 * torch.rand(64, len(row), generator=Generator().manual_seed(0)).to(row) - 1
    for share in torch.arange(64, 0, -1) / 64:
        if (model(row + share * bound * draws).argmax(dim=1) == label).all():
            return share * bound
    return 0 * bound


def in_the_logits_slope(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """As if the model were its tangent at the row."""
    with torch.enable_grad():
        at = row.clone().requires_grad_()
        outputs = model(at[None])[0]
        others = outputs[[k for k in range(len(outputs)) if k != label]]
        lead = outputs[label] - others.max()
        (slope,) = torch.autograd.grad(lead, at)
    return widest_share(lead.detach()[None], slope[None], bound) * bound


def whatever_the_bound(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    return proportional(model, row, label, 10 + 0 * bound)


def share_taken_twice(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    return widest_share(*planes_around(model, row, label), bound) ** 2 * bound


def irrelevant_alike(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    return widest_share(*planes_around(model, row, label), bound) * bound


def a_cube(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """One width for all features, whatever their units."""
    return proportional(model, row, label, bound.amin().expand_as(bound))


def first_features_first(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    """Each feature in its turn as wide as those before it leave it."""
    lead, slope = planes_around(model, row, label)
    width = torch.zeros_like(bound)
    for i in range(len(bound)):
        width[i] = bound[i] * widest_share(lead, slope[:, i : i + 1], bound[i : i + 1])
        lead = lead - slope[:, i].abs() * width[i]
    return width


def more_for_the_last(model: nn.Module, row: Tensor, label: int, bound: Tensor) -> Tensor:
    return proportional(model, row, label, bound) * (1 - 0.01 * torch.arange(len(bound), 0, -1))


def of_the_batch(change: Callable[[Tensor], Tensor]) -> Any:
    def make(model: nn.Module) -> Any:
        boxes = PROPORTIONAL.make(model)
        return lambda rows, target: change(boxes(rows, target))

    return make


def wrong(name: str, axiom: str, make: Any, good: Explainer = PROPORTIONAL) -> Offender:
    return offender(name, axiom, make, good)


OFFENDERS = [
    wrong("too wide by two per cent", "sampled_invariance", times(1.02)),
    wrong("twice as wide", "sampled_invariance", times(2, by_intervals), BY_INTERVALS),
    wrong("the tangent for the model", "sampled_invariance", row_by_row(in_the_logits_slope),
          BY_INTERVALS),
    wrong("too wide by two per cent", "attack_inside", times(1.02)),
    wrong("safe from the second class alone", "attack_inside", row_by_row(runner_up_alone)),
    wrong("as wide as draws allow", "attack_inside", row_by_row(as_draws_allow), BY_INTERVALS),
    wrong("ignores the bound", "width_within_bound", row_by_row(whatever_the_bound)),
    wrong("beyond the bound by two per cent", "width_within_bound", times(1.02, by_intervals),
          BY_INTERVALS),
    wrong("narrower within a larger bound", "monotone_in_bound", row_by_row(share_taken_twice)),
    wrong("half the bound taken off", "monotone_in_bound",
          row_by_row(lambda m, row, label, bound: (1.5 - bound / 2).clamp(min=0))),
    wrong("what is irrelevant shares with the rest", "irrelevant_width",
          row_by_row(irrelevant_alike)),
    wrong("a little less than the bound", "irrelevant_width", times(0.999)),
    wrong("not scaled by features' units", "box_scaling", row_by_row(a_cube)),
    wrong("in units of the row", "box_scaling", row_by_row(
          lambda m, row, label, bound: proportional(m, row, label, bound) / (1 + row.norm()))),
    wrong("first features first", "box_permutation", row_by_row(first_features_first)),
    wrong("one per cent more for the last", "box_permutation", row_by_row(more_for_the_last)),
    wrong("the narrowest of the batch", "box_batch_independence",
          of_the_batch(lambda w: w.amin(dim=0).expand_as(w))),
    wrong("a thousandth of the batch's mean", "box_batch_independence",
          of_the_batch(lambda w: 0.999 * w + 0.001 * w.mean(dim=0))),
]  # fmt: skip
