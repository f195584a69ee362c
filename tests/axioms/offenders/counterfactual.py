"""Exact counterfactuals, and some that are wrong in one thing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from offenders.offender import Offender, offender
from xai_adapters.axioms import Domain, Explainer, explainer
from xai_adapters.features.schema import FeatureSchema

# How far beyond a boundary a point must lie so that rounding does not take it back.
_BEYOND = 1e-9


@dataclass(frozen=True)
class Answer:
    perturbed: Tensor
    success: Tensor | None


def labels(model: nn.Module, rows: Tensor) -> Tensor:
    with torch.no_grad():
        return model(rows).argmax(dim=1)


def layer_of(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) of a linear model."""
    (linear,) = (module for module in model.modules() if isinstance(module, nn.Linear))
    return linear.weight.detach(), linear.bias.detach()


# Linear models: a class is a polyhedron, of which the nearest point is computed.


def step_into(weight: Tensor, bias: Tensor, row: Tensor, label: int) -> Tensor | None:
    """The shortest step (d,) from a row (d,) into a class, None if it is empty.

    It meets some of the inequalities (w_k - w_j) (x + s) + b_k - b_j >= 0 as equations, and is the
    shortest step that does; which ones they are is tried.
    """
    others = [j for j in range(len(weight)) if j != label]
    normal = weight[label] - weight[others]
    missing = _BEYOND - normal @ row - (bias[label] - bias[others])
    best = None
    for size in range(len(others) + 1):
        for met in map(list, itertools.combinations(range(len(others)), size)):
            step = torch.linalg.pinv(normal[met], atol=1e-9) @ missing[met]
            if (normal @ step >= missing - _BEYOND / 2).all() and (
                best is None or step.norm() < best.norm()
            ):
                best = step
    return best


def steps_on_planes(
    model: nn.Module, row: Tensor, original_class: int, target: int | None
) -> list[Tensor]:
    """The shortest steps into the target, or out of the row's class over each of its planes."""
    weight, bias = layer_of(model)
    if target is not None:
        steps = [step_into(weight, bias, row, target)]
    else:
        pairs = [[original_class, k] for k in range(len(bias)) if k != original_class]
        steps = [step_into(weight[pair], bias[pair], row, 1) for pair in pairs]
    return sorted((step for step in steps if step is not None), key=lambda step: float(step.norm()))


Change = Callable[[Tensor, Tensor, nn.Module], Tensor]


def on_planes(
    change: Change | None = None, *, steps: Any = steps_on_planes, says: Any = labels
) -> Any:
    """A maker of the nearest counterfactuals of linear models, and of others.

    Args:
        change: gives another step for (step, row, model).
        steps: as `steps_on_planes`.
        says: what success is judged by, a function of (model, rows); None says nothing of it.
    """

    def make(model: nn.Module) -> Any:
        def perturb(rows: Tensor, original_class: Tensor, target: Tensor | None = None) -> Any:
            found = rows.clone()
            for i, row in enumerate(rows):
                label, wanted = int(labels(model, row[None])), None
                if target is not None:
                    wanted = int(target[i])
                if label == wanted or (wanted is None and label != original_class[i]):
                    continue
                for step in steps(model, row, label, wanted)[:1]:
                    found[i] = row + (step if change is None else change(step, row, model))
            if says is None:
                return found
            after = says(model, found)
            return Answer(found, after != original_class if target is None else after == target)

        return _Perturbing(perturb)

    return make


@dataclass(frozen=True)
class _Perturbing:
    perturb: Callable[..., Any]


# Any model and any schema: the nearest point of a grid.

_GRID = torch.arange(-8, 9, dtype=torch.float64) / 2


def permitted_points(schema: FeatureSchema, row: Tensor) -> Tensor:
    """The points (m, d) of a grid that a row (d,) may become, itself among them."""
    columns: list[Tensor] = []
    for feature in schema.features:
        if hasattr(feature, "categories"):
            columns.append(torch.eye(len(feature.categories), dtype=row.dtype))
            continue
        own = row[feature.column]
        values = torch.cat((own[None], _GRID))
        free = (values >= feature.lower) & (values <= feature.upper)
        if feature.integer:
            free &= values == values.round()
        if feature.direction != "both":
            free &= values >= own if feature.direction == "up" else values <= own
        columns.append((values[free] if feature.mutable else own[None])[:, None])
    places = itertools.product(*(range(len(column)) for column in columns))
    picked = torch.tensor(list(places)).T
    return torch.cat([column[at] for column, at in zip(columns, picked, strict=True)], dim=1)


def on_grid(loosened: Callable[[Any], Any] = lambda feature: feature) -> Any:
    """A maker of the nearest counterfactuals of a grid, with features changed for offenders."""

    def make(subject: Any) -> Any:
        schema = subject.schema or FeatureSchema.all_continuous(subject.background.shape[1])
        schema = FeatureSchema([loosened(feature) for feature in schema.features])

        def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
            found = rows.clone()
            for i, row in enumerate(rows):
                points = permitted_points(schema, row)
                points = points[labels(subject.model, points) != original_class[i]]
                if len(points):
                    found[i] = points[(points - row).norm(dim=1).argmin()]
            return found

        return counterfactuals

    return make


def without(**unlimited: Any) -> Callable[[Any], Any]:
    """Numbers with some limit taken off."""
    return lambda feature: (
        feature if hasattr(feature, "categories") else replace(feature, **unlimited)
    )


def afterwards(make: Callable[[Any], Any], change: Callable[..., Tensor]) -> Callable[[Any], Any]:
    """A maker whose answers, rows (n, d), are changed by a function of (answer, rows,
    original_class)."""

    def changed(subject: Any) -> Any:
        found = make(subject)
        return lambda rows, original_class: change(
            found(rows, original_class), rows, original_class
        )

    return changed


_CLAIMED_EVERYWHERE = {
    "validity": 0, "target_reached": 0, "honest_success": 0,
    "counterfactual_batch_independence": 0,
}  # fmt: skip
NEAREST_ON_PLANES = explainer(
    "nearest_on_planes",
    on_planes(),
    {
        **_CLAIMED_EVERYWHERE, "coverage": 0, "no_needless_change": 0, "shortest_step": 0,
        "idempotence": 0, "linear_length": 0, "linear_direction": 0,
    },
    domain=Domain.linear(),
)  # fmt: skip
NEAREST_ON_GRID = explainer(
    "nearest_on_grid",
    on_grid(),
    {
        "validity": 0, "counterfactual_batch_independence": 0, "constraints": 0, "one_hot": 0,
        "no_needless_change": 0, "idempotence": 0,
    },
    domain=Domain(max_features=3),
    takes="subject",
)  # fmt: skip


def neighbour(subject: Any) -> Any:
    """The nearest background row of another class."""

    def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
        found, known = rows.clone(), labels(subject.model, subject.background)
        for i, row in enumerate(rows):
            if labels(subject.model, row[None]) != original_class[i]:
                continue
            other = subject.background[known != original_class[i]]
            if len(other):
                found[i] = other[(other - row).norm(dim=1).argmin()]
        return found

    return counterfactuals


NEAREST_NEIGHBOUR = explainer(
    "nearest_neighbour",
    neighbour,
    {"validity": 0, "coverage": 0, "idempotence": 0, "counterfactual_batch_independence": 0},
    takes="subject",
)

GOOD: list[Explainer] = [NEAREST_ON_PLANES, NEAREST_ON_GRID, NEAREST_NEIGHBOUR]


# Offenders.


def on_a_surrogate(model: nn.Module) -> Any:
    """Nearest on a plane that was fitted to the model's answers."""
    weight, bias = layer_of(model)
    points = torch.randn(50, weight.shape[1], generator=torch.Generator().manual_seed(0)).double()
    inputs = torch.cat((2 * points, torch.ones(50, 1).double()), dim=1)
    answers = nn.functional.one_hot(labels(model, 2 * points), len(bias)).double()
    fitted = torch.linalg.lstsq(inputs, answers).solution
    surrogate = nn.Linear(1, 1)
    surrogate.weight, surrogate.bias = (
        nn.Parameter(part) for part in (fitted[:-1].T.contiguous(), fitted[-1])
    )
    perturb = on_planes()(surrogate.eval()).perturb
    return _Perturbing(lambda rows, original_class: perturb(rows, labels(surrogate, rows)))


def rounded(step: Tensor, row: Tensor, model: nn.Module) -> Tensor:
    return (row + step).float().double() - row


def labels_in_single_precision(model: nn.Module, rows: Tensor) -> Tensor:
    """Ties go to the last class, as they may where sums are taken in another order."""
    outputs = model(rows).float()
    return outputs.shape[1] - 1 - outputs.flip(1).argmax(dim=1)


def to_any_class(model: nn.Module) -> Any:
    perturb = on_planes()(model).perturb
    return _Perturbing(lambda rows, original_class, target=None: perturb(rows, original_class))


def to_the_plane_of_two(
    model: nn.Module, row: Tensor, original_class: int, target: int | None
) -> list[Tensor]:
    """Beyond the plane between the row's class and the wanted one, whatever a third says."""
    weight, bias = layer_of(model)
    step = step_into(weight[[original_class, target]], bias[[original_class, target]], row, 1)
    return [] if step is None else [step]


def with_success(success: Callable[..., Tensor], change: Change | None = None) -> Any:
    def make(model: nn.Module) -> Any:
        perturb = on_planes(change, says=None)(model).perturb

        def told(rows: Tensor, original_class: Tensor) -> Answer:
            found = perturb(rows, original_class)
            return Answer(found, success(found, rows, original_class, model))

        return _Perturbing(told)

    return make


def halved(found: Tensor, rows: Tensor, original_class: Tensor, model: nn.Module) -> Tensor:
    """Whether the class has become half as likely."""
    before, after = (
        model(x).softmax(dim=1).gather(1, original_class[:, None]) for x in (rows, found)
    )
    return (after < before / 2)[:, 0]


def give_up_beyond_two(step: Tensor, row: Tensor, model: nn.Module) -> Tensor:
    return step if step.norm() <= 2 else 0 * step


GIVES_UP = replace(NEAREST_ON_PLANES, name="gives_up", make=on_planes(give_up_beyond_two))


def unread_moved_too(step: Tensor, row: Tensor, model: nn.Module) -> Tensor:
    weight, _ = layer_of(model)
    return step + (weight == weight[0]).all(dim=0)


def one_feature_alone(
    model: nn.Module, row: Tensor, original_class: int, target: int | None
) -> list[Tensor]:
    """The shortest step that changes one feature."""
    weight, bias = layer_of(model)
    found = []
    for own in torch.eye(len(row), dtype=row.dtype):
        line = nn.Linear(1, 1)
        line.weight = nn.Parameter((weight @ own)[:, None])
        line.bias = nn.Parameter(bias + weight @ row)
        found += [
            along * own for along in steps_on_planes(line, 0 * row[:1], original_class, target)
        ]
    return sorted(found, key=lambda step: float(step.norm()))


def from_either_side(model: nn.Module) -> Any:
    """To the boundary, also of rows that have the wanted class already."""
    exact = on_planes(says=None)(model).perturb

    def perturb(rows: Tensor, original_class: Tensor, target: Tensor) -> Tensor:
        found, back = exact(rows, original_class, target), exact(rows, target)
        there = labels(model, rows) == target
        return torch.where(there[:, None], rows + (1 - 1e-6) * (back - rows), found)

    return _Perturbing(perturb)


def nudged(found: Tensor, rows: Tensor, original_class: Tensor) -> Tensor:
    return found + 1e-3 * (found - rows).sign() + 1e-3 * (found == rows)


def relaxed(found: Tensor, rows: Tensor, original_class: Tensor) -> Tensor:
    """The point just before the nearest one: its categories are shares."""
    return rows + 0.9 * (found - rows)


def both_categories(found: Tensor, rows: Tensor, original_class: Tensor) -> Tensor:
    return torch.maximum(found, rows)


def with_mean_step(found: Tensor, rows: Tensor, original_class: Tensor) -> Tensor:
    return rows + (found - rows).mean(dim=0)


def batch_sized(model: nn.Module) -> Any:
    """As precise as there is time: the larger the batch, the farther."""
    perturb = on_planes(says=None)(model).perturb

    def hurried(rows: Tensor, original_class: Tensor) -> Tensor:
        found = perturb(rows, original_class)
        return rows + (1 + 0.01 * len(rows)) * (found - rows)

    return _Perturbing(hurried)


def wrong(name: str, axiom: str, make: Any, good: Explainer = NEAREST_ON_PLANES) -> Offender:
    return offender(name, axiom, make, good)


OFFENDERS = [
    wrong("valid on a surrogate only", "validity", on_a_surrogate),
    wrong("flips in single precision only", "validity",
          on_planes(rounded, says=labels_in_single_precision)),
    wrong("one per cent short of the boundary", "validity",
          on_planes(lambda s, *_: 0.99 * s, says=None)),
    wrong("whole where it need not be", "validity",
          afterwards(on_grid(), lambda found, *_: found.round()), NEAREST_ON_GRID),
    wrong("any other class", "target_reached", to_any_class),
    wrong("a third class overlooked", "target_reached",
          on_planes(steps=to_the_plane_of_two, says=None)),
    wrong("gives up beyond two steps", "coverage", on_planes(give_up_beyond_two)),
    wrong("one class has no neighbours", "coverage",
          afterwards(neighbour, lambda found, rows, original_class: torch.where(
              (original_class == 0)[:, None], found, rows)), NEAREST_NEIGHBOUR),
    wrong("success always true", "honest_success",
          with_success(lambda found, *_: torch.ones(len(found), dtype=torch.bool),
                       give_up_beyond_two), GIVES_UP),
    wrong("success where something moved", "honest_success",
          with_success(lambda found, rows, *_: (found - rows).norm(dim=1) > 1)),
    wrong("success where the probability halved", "honest_success", with_success(halved)),
    wrong("changes an immutable", "constraints", on_grid(without(mutable=True)), NEAREST_ON_GRID),
    wrong("the wrong way", "constraints", on_grid(without(direction="both")), NEAREST_ON_GRID),
    wrong("halves of whole numbers", "constraints", on_grid(without(integer=False)),
          NEAREST_ON_GRID),
    wrong("beyond the bounds", "constraints",
          on_grid(without(lower=-torch.inf, upper=torch.inf)), NEAREST_ON_GRID),
    wrong("relaxed categories", "one_hot", afterwards(on_grid(), relaxed), NEAREST_ON_GRID),
    wrong("two categories at once", "one_hot", afterwards(on_grid(), both_categories),
          NEAREST_ON_GRID),
    wrong("one needless change", "no_needless_change", on_planes(unread_moved_too)),
    wrong("twice as far", "no_needless_change", on_planes(lambda s, *_: 2 * s)),
    wrong("a neighbour as it is", "no_needless_change", neighbour, NEAREST_ON_GRID),
    wrong("overshoots by ten per cent", "shortest_step", on_planes(lambda s, *_: 1.1 * s)),
    wrong("a tenth of a unit beyond", "shortest_step",
          on_planes(lambda s, *_: s * (1 + 0.1 / s.norm()))),
    wrong("to the boundary from either side", "idempotence", from_either_side),
    wrong("a nudge more", "idempotence", afterwards(neighbour, nudged), NEAREST_NEIGHBOUR),
    wrong("five per cent farther", "linear_length", on_planes(lambda s, *_: 1.05 * s)),
    wrong("one feature alone", "linear_length", on_planes(steps=one_feature_alone)),
    wrong("one feature alone", "linear_direction", on_planes(steps=one_feature_alone)),
    wrong("the sign of the step", "linear_direction",
          on_planes(lambda s, *_: s.abs().sum() * s.sign())),
    wrong("the mean step for all", "counterfactual_batch_independence",
          afterwards(on_grid(), with_mean_step), NEAREST_ON_GRID),
    wrong("farther in larger batches", "counterfactual_batch_independence", batch_sized),
]  # fmt: skip
