"""Explainers that are right by construction: slow, plain, in float64, and asking nobody.

Each takes a model and returns a function of (inputs, target), where inputs are a tensor or a tuple
of tensors. The baseline is 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from xai_adapters.axioms import Domain, Explainer, explainer

Forward = Callable[[Tensor], Tensor]  # rows (n, d) -> the target's output (n,)
Rule = Callable[[Forward, Tensor], Tensor]


def with_rule(rule: Rule) -> Callable[[nn.Module], Any]:
    """A maker of explainers from a rule that explains one row, (1, d) -> (1, d)."""

    def make(model: nn.Module) -> Any:
        def explain(inputs: Any, target: Any) -> Any:
            parts = inputs if isinstance(inputs, tuple) else (inputs,)
            sizes = [part.shape[1] for part in parts]
            rows = torch.cat(parts, dim=1)
            targets = torch.as_tensor(target).expand(len(rows)).tolist()

            def forward(label: int) -> Forward:
                return lambda rows: model(*rows.split(sizes, dim=1))[:, label]

            found = torch.cat(
                [
                    rule(forward(label), row)
                    for row, label in zip(rows.split(1), targets, strict=True)
                ]
            )
            split = found.split(sizes, dim=1)
            return tuple(split) if isinstance(inputs, tuple) else split[0]

        return explain

    return make


def slope(forward: Forward, row: Tensor) -> Tensor:
    """The gradient."""
    with torch.enable_grad():
        moving = row.detach().requires_grad_()
        return torch.autograd.grad(forward(moving).sum(), moving, materialize_grads=True)[0]


@torch.no_grad()
def occluded(forward: Forward, row: Tensor) -> Tensor:
    """f(x) - f(x with a feature at 0), for each feature."""
    without = row.repeat(row.shape[1], 1).fill_diagonal_(0)
    return (forward(row) - forward(without))[None]


@torch.no_grad()
def shapley_values(forward: Forward, row: Tensor) -> Tensor:
    """Shapley's formula, over all coalitions."""
    d = row.shape[1]
    value = {
        subset: float(forward(row * torch.tensor([[i in subset for i in range(d)]])))
        for size in range(d + 1)
        for subset in itertools.combinations(range(d), size)
    }
    found = torch.zeros_like(row)
    for i in range(d):
        for subset in value:
            if i not in subset:
                weight = math.factorial(len(subset)) * math.factorial(d - len(subset) - 1)
                joined = tuple(sorted((*subset, i)))
                found[0, i] += weight / math.factorial(d) * (value[joined] - value[subset])
    return found


@torch.no_grad()
def sampled_shapley_values(forward: Forward, row: Tensor) -> Tensor:
    """Shapley values from eight orders of a generator of its own: complete, but not symmetric."""
    d = row.shape[1]
    generator = Generator().manual_seed(0)
    found = torch.zeros_like(row)
    for _ in range(8):
        present = torch.zeros_like(row)
        for i in torch.randperm(d, generator=generator).tolist():
            before = forward(present)
            present[0, i] = row[0, i]
            found[0, i] += (forward(present) - before).item() / 8
    return found


def outputs_of(layer: nn.Module, run: Callable[[], Any]) -> Tensor:
    """What a layer gives when its model runs."""
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda *given: seen.append(given[2]))
    try:
        run()
    finally:
        hook.remove()
    return seen[0]


def integrated_gradients(model: nn.Module) -> Any:
    """Integrated gradients of a piecewise linear model, without an error.

    Outputs of the linear layers are linear in the path's parameter between the kinks of the layers
    before them, so the kinks are found layer by layer. Between two kinks the slope is constant; it
    is taken as a central difference, which asks for the function alone: autograd's slope of
    relu(y) - relu(-y) at y = 0 is 0.
    """
    step = 1e-6

    @torch.no_grad()
    def rule(forward: Forward, row: Tensor) -> Tensor:
        kinks = torch.tensor([0.0, 1.0], dtype=row.dtype)
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        for layer in layers:
            outputs = outputs_of(layer, partial(forward, kinks[:, None] * row))
            low, high = outputs[:-1], outputs[1:]
            share = low / (low - high)
            crossing = kinks[:-1, None] + share * kinks.diff()[:, None]
            kinks = torch.cat((kinks, crossing[(low * high < 0)])).unique()
        middle = (kinks[1:] + kinks[:-1])[:, None] / 2 * row
        found = torch.zeros_like(row)
        for i in range(row.shape[1]):
            moved = torch.zeros_like(row)
            moved[0, i] = step
            slopes = (forward(middle + moved) - forward(middle - moved)) / (2 * step)
            found[0, i] = row[0, i] * (slopes * kinks.diff()).sum()
        return found

    return with_rule(rule)(model)


_WELL_BEHAVED = {
    "batch_independence": 0, "determinism": 0, "seed_independence": 0, "random_state_kept": 0,
    "well_formed": 0, "left_as_found": 0, "left_as_found_after_error": 0, "inputs_in_parts": 0,
    "target_forms": 0, "target_consistency": 0,
}  # fmt: skip
_LINEAR_IN_THE_MODEL = {"dummy": 0, "linearity": 0, "additivity": 0, "output_shift": 0}
_OF_THE_FUNCTION = {"implementation_invariance": 0, "scaling": 0, "symmetry": 0}
_LOOKS_AT_THE_MODEL = {"model_randomization": 0, "label_randomization": 0}
_SMALL = Domain(max_features=3)

GRADIENT = explainer(
    "gradient",
    with_rule(slope),
    {
        **_WELL_BEHAVED, **_LINEAR_IN_THE_MODEL, "symmetry": 0, "scaling": 0,
        "input_invariance": 0, **_LOOKS_AT_THE_MODEL,
    },
    baseline=None,
    unit="output/input",
)  # fmt: skip
OCCLUSION = explainer(
    "occlusion",
    with_rule(occluded),
    {
        **_WELL_BEHAVED, **_LINEAR_IN_THE_MODEL, **_OF_THE_FUNCTION, "sensitivity": 0,
        "stability": 2, **_LOOKS_AT_THE_MODEL,
    },
    unit="output",
)  # fmt: skip
OCCLUSION_OF_LINEAR_MODELS = explainer(
    "occlusion_linear",
    with_rule(occluded),
    {**OCCLUSION.claims, "completeness": 0},
    unit="output",
    domain=Domain.linear(),
)
SHAPLEY = explainer(
    "shapley",
    with_rule(shapley_values),
    {
        **_WELL_BEHAVED, **_LINEAR_IN_THE_MODEL, **_OF_THE_FUNCTION, "completeness": 0,
        "sensitivity": 0, "stability": 2,
    },
    unit="output",
    domain=_SMALL,
)  # fmt: skip
SAMPLED_SHAPLEY = explainer(
    "sampled_shapley",
    with_rule(sampled_shapley_values),
    {
        **_WELL_BEHAVED, **_LINEAR_IN_THE_MODEL, "completeness": 0, "sensitivity": 0,
        "implementation_invariance": 0, "scaling": 0,
    },
    unit="output",
)  # fmt: skip
INTEGRATED_GRADIENTS = explainer(
    "integrated_gradients",
    integrated_gradients,
    {
        **_WELL_BEHAVED, **_LINEAR_IN_THE_MODEL, **_OF_THE_FUNCTION, "completeness": 0,
        "sensitivity": 0, **_LOOKS_AT_THE_MODEL,
    },
    unit="output",
    domain=Domain.piecewise_linear(),
)  # fmt: skip

REFERENCES: list[Explainer] = [
    GRADIENT, OCCLUSION, OCCLUSION_OF_LINEAR_MODELS, SHAPLEY, SAMPLED_SHAPLEY,
    INTEGRATED_GRADIENTS,
]  # fmt: skip
