"""Exact counterfactuals: the nearest that exist, for models where they can be computed.

Other generators are compared with them. Distances are those of `EncodedSubject`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips
from xai_adapters.registry.claims import QUERIES_MODEL, Claims, claims_nothing
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

_GRID = 400
_MARGIN = 0.3
_CELLS = 4_000_000
# How far rows go beyond the plane, as a share of the distance: as little as rounding permits.
_OVERSHOOTS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)

_NEAREST = ("no_needless_change", "shortest_step", "linear_length", "linear_direction")
_EXACT: Claims = {**QUERIES_MODEL, **dict.fromkeys(("coverage", "idempotence", *_NEAREST), 0)}


@registered(kind="counterfactual", claims=_EXACT, domain={"max_hidden_layers": 0})
def nearest_on_plane(subject: Subject) -> CounterfactualGenerator:
    """The nearest point beyond a linear classifier's plane.

    A row of class o leaves it where another class k has the larger score, beyond the plane
    (w_k - w_o) x + b_k - b_o = 0. In the metric's units the nearest such point lies at the foot of
    the perpendicular on the nearest plane; a number that would go too far stays at its limit, and
    the others go as much farther along the normal as that takes.
    """
    encoded = EncodedSubject.of(subject)
    schema = encoded.schema
    if schema.categorical or any(feature.integer for feature in schema.continuous):
        raise NotApplicableError("needs columns of numbers, none of them whole numbers")
    weights, biases = _linear_scores(subject.model, encoded.background)
    # Encoded columns are in the order of the schema's features.
    weights = schema.encode(weights)
    scale = encoded.scale.double()

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best, at = rows.clone(), rows.double()
        score = at @ weights.T + biases
        lead = score.gather(1, original_class[:, None]) - score
        slope = (weights[None] - weights[original_class][:, None]) * scale
        below, above = ((bound.double() - at) / scale for bound in schema.intervals(rows))
        limit = torch.where(slope > 0, above[:, None], below[:, None])
        own = nn.functional.one_hot(original_class, len(weights)).bool()
        left = torch.arange(len(rows), device=rows.device)
        for overshoot in _OVERSHOOTS:
            gain = lead[left].clamp(min=0) * (1 + overshoot) + overshoot * slope[left].norm(dim=2)
            steps, reached = _steepest(slope[left], limit[left], gain)
            far = steps.norm(dim=2).masked_fill(own[left] | ~reached, torch.inf)
            length, nearest = far.min(dim=1)
            step = steps[torch.arange(len(left), device=rows.device), nearest]
            points = schema.settle(rows[left], (at[left] + step * scale).to(rows))
            flipped = length.isfinite() & flips(left, points)
            best[left[flipped]] = points[flipped]
            left = left[~flipped]
        return best

    return encoded.generator(search)


def _steepest(slope: Tensor, limit: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """The shortest steps (n, K, d) to a gain of linear functions, and whether there is one (n, K).

    Args:
        slope: (n, K, d) of each function.
        limit: (n, K, d) how far each coordinate may go in the direction in which it rises.
        gain: (n, K), at least 0.
    """
    at_limit = slope == 0
    steps = torch.zeros_like(slope)
    # Each iteration stops at least one more coordinate at its limit, or is the last.
    for _ in range(slope.shape[2] + 1):
        gained = torch.where(at_limit, slope * steps, 0).sum(dim=2)
        steepness = torch.where(at_limit, 0, slope.square()).sum(dim=2)
        reached = (steepness > 0) | (gained >= gain)
        multiple = (gain - gained).clamp(min=0) / torch.where(steepness > 0, steepness, 1)
        steps = torch.where(at_limit, steps, multiple[:, :, None] * slope)
        beyond = steps.abs() > limit.abs()
        steps = torch.where(beyond, limit, steps)
        at_limit = at_limit | beyond
        if not beyond.any():
            break
    return steps, reached


def _linear_scores(model: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) of the scores whose largest is the class; float64."""
    if isinstance(model, nn.Module):
        layers = [layer for layer in model.modules() if not list(layer.children())]
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        rest = [layer for layer in layers if not isinstance(layer, (nn.Linear, *_MONOTONE))]
        if len(linear) != 1 or rest:
            raise NotApplicableError("needs a linear classifier, which this network is not")
        weights = linear[0].weight.detach()
        biases = torch.zeros(len(weights)) if linear[0].bias is None else linear[0].bias.detach()
    else:
        estimator = _estimator_with("coef_", model, "linear classifier")
        weights = torch.as_tensor(np.asarray(estimator.coef_))
        biases = torch.as_tensor(np.asarray(estimator.intercept_))
    weights, biases = weights.to(like.device).double(), biases.to(like.device).double()
    if len(weights) == 1:
        # One score decides between two classes.
        weights = torch.cat((torch.zeros_like(weights), weights))
        biases = torch.cat((torch.zeros_like(biases), biases))
    return weights, biases


_MONOTONE = (nn.Identity, nn.Softmax, nn.LogSoftmax)


@registered(
    kind="counterfactual",
    claims={
        **_EXACT,
        **dict.fromkeys(_NEAREST, "the nearest grid point is farther away than the nearest point"),
    },
    domain={"min_features": 2, "max_features": 2},
)
def nearest_on_grid(subject: Subject) -> CounterfactualGenerator:
    """The nearest of 400 x 400 points, for two columns of numbers.

    The grid covers the background and a margin around it.
    """
    encoded = EncodedSubject.of(subject)
    if not encoded.schema.is_free or encoded.n_numbers != 2:
        raise NotApplicableError("needs two columns of numbers that are free to change")
    margin = _MARGIN * encoded.unit
    bounds = zip(
        encoded.background.amin(dim=0) - margin, encoded.background.amax(dim=0) + margin,
        strict=True,
    )  # fmt: skip
    axes = [torch.linspace(float(low), float(high), _GRID) for low, high in bounds]
    grid = torch.cartesian_prod(*axes).to(encoded.background)
    labels = encoded.labels(grid, subject.background.dtype)

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best = rows.clone()
        for label in original_class.unique():
            others = grid[labels != label].to(rows)
            if len(others) == 0:
                continue
            mine = (original_class == label).nonzero()[:, 0]
            for some in mine.split(max(1, _CELLS // len(others))):
                far = torch.cdist(
                    rows[some] / encoded.scale,
                    others / encoded.scale,
                    # The matrix product's rounding would confuse near points.
                    compute_mode="donot_use_mm_for_euclid_dist",
                )
                best[some] = others[far.argmin(dim=1)]
        return best

    return encoded.generator(search)


@registered(
    kind="counterfactual",
    claims=claims_nothing(
        "it explains a single decision tree, and the axioms draw networks", "counterfactual"
    ),
)
def nearest_leaf(subject: Subject) -> CounterfactualGenerator:
    """The nearest point of another class's leaf, for one decision tree of scikit-learn's.

    A leaf is a box of numbers and a set of categories. Cut with what a row may change to, its
    nearest point is known in closed form; the nearest over all leaves of other classes is exact.
    """
    encoded = EncodedSubject.of(subject)
    leaves = _Leaves.of(
        encoded, _estimator_with("tree_", subject.model, "single decision tree").tree_
    )

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best = rows.clone()
        every = torch.arange(len(rows), device=rows.device)
        for some in every.split(max(1, _CELLS // leaves.lower.shape[0] // rows.shape[1])):
            points, reachable = leaves.nearest(encoded, rows[some], original_class[some])
            reached = some[reachable]
            flipped = flips(reached, points[reachable])
            best[reached[flipped]] = points[reachable][flipped]
        return best

    return encoded.generator(search)


@dataclass(frozen=True)
class _Leaves:
    """The leaves of a tree over encoded columns.

    Args:
        label: (L,) class of each.
        lower: (L, c) smallest number inside, of each encoded number.
        upper: (L, c) largest number inside.
        holds: (L, sum of the group sizes) whether a category is inside.
    """

    label: Tensor
    lower: Tensor
    upper: Tensor
    holds: Tensor

    @classmethod
    def of(cls, encoded: EncodedSubject, tree: Any) -> _Leaves:
        """Walk down a scikit-learn tree: left where a column is at most the threshold."""
        d = encoded.schema.n_columns
        boxes, labels = [], []
        waiting = [(0, np.full(d, -np.inf), np.full(d, np.inf))]
        while waiting:
            node, above, at_most = waiting.pop()
            if tree.children_left[node] == tree.children_right[node]:
                boxes.append((above, at_most))
                labels.append(int(tree.value[node][0].argmax()))
                continue
            column, threshold = tree.feature[node], tree.threshold[node]
            left, right = at_most.copy(), above.copy()
            left[column] = min(left[column], threshold)
            right[column] = max(right[column], threshold)
            waiting.append((tree.children_left[node], above, left))
            waiting.append((tree.children_right[node], right, at_most))
        above, at_most = (np.stack(ends) for ends in zip(*boxes, strict=True))
        device, schema = encoded.background.device, encoded.schema
        # Whether 0 or 1, or a code, is inside tells which categories are.
        holds = [np.ones((len(labels), 0), dtype=bool)]
        for feature in schema.categorical:
            k = len(feature.categories)
            values = np.eye(k) if feature.one_hot else np.arange(k)[:, None]
            low, high = (ends[:, None, list(feature.columns)] for ends in (above, at_most))
            holds.append(np.asarray(((low < values) & (values <= high)).all(axis=2)))
        numbers = [feature.column for feature in schema.continuous]
        return cls(
            torch.tensor(labels, device=device),
            torch.from_numpy(_float32_above(above[:, numbers])).to(device),
            torch.from_numpy(_float32_at_most(at_most[:, numbers])).to(device),
            torch.from_numpy(np.concatenate(holds, axis=1)).to(device),
        )

    def nearest(
        self, encoded: EncodedSubject, rows: Tensor, original_class: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The nearest permissible points (n, e) of other classes, and whether there is one (n,)."""
        schema, c = encoded.schema, encoded.n_numbers
        own = rows[:, None, :c].double()
        first, last = (ends[:, None].double() for ends in schema.intervals(rows))
        low, high = torch.maximum(self.lower, first), torch.minimum(self.upper, last)
        integer = [feature.integer for feature in schema.continuous]
        whole = torch.tensor(integer, dtype=torch.bool, device=rows.device)
        low, high = torch.where(whole, low.ceil(), low), torch.where(whole, high.floor(), high)
        value = torch.minimum(torch.maximum(torch.where(whole, own.round(), own), low), high)
        # A number inside the leaf stays, though it may be no whole number. Trees see float32.
        seen = rows[:, None, :c].float().double()
        stays = (seen >= self.lower) & (seen <= self.upper)
        value = torch.where(stays, own, value)
        possible = (stays | (low <= high)).all(dim=2) & (self.label != original_class[:, None])
        points = [value]
        far = ((value - own) / encoded.scale.double()).norm(dim=2)
        # A group may keep its category, or takes the first of the leaf's that it may.
        choices = (self.holds & schema.choices(rows)[:, None]).split(schema.group_sizes, dim=2)
        groups = rows[:, None, c:].expand(-1, len(self.label), -1).split(schema.group_sizes, dim=2)
        for choice, group, cost in zip(choices, groups, encoded.category_costs, strict=True):
            # The row's own category first.
            chosen = (choice.double() + (choice & (group > 0.5))).argmax(dim=2)
            hard = nn.functional.one_hot(chosen, choice.shape[2]).double()
            possible &= choice.any(dim=2)
            far += cost * (hard != group).any(dim=2)
            points.append(hard)
        length, leaf = far.masked_fill(~possible, torch.inf).min(dim=1)
        every = torch.arange(len(rows), device=rows.device)
        nearest = torch.cat(points, dim=2)[every, leaf].to(rows)
        # Rounding to the rows' precision must not move what is kept.
        return torch.where(nearest == rows, rows, nearest), length.isfinite()


def _float32_above(bound: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The smallest float32 above each bound, as scikit-learn's trees compare float32."""
    near = bound.astype(np.float32)
    return np.where(near > bound, near, np.nextafter(near, np.float32(np.inf))).astype(np.float64)


def _float32_at_most(bound: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The largest float32 that is at most each bound."""
    near = bound.astype(np.float32)
    return np.where(near <= bound, near, np.nextafter(near, np.float32(-np.inf))).astype(np.float64)


def _estimator_with(attribute: str, model: Any, kind: str) -> Any:
    """A fitted scikit-learn estimator, which may be wrapped by one that counts queries."""
    # Ensembles have an `estimator` too: one that is not fitted.
    estimator = next(
        (held for held in (model, getattr(model, "estimator", None)) if hasattr(held, attribute)),
        None,
    )
    if estimator is None:
        raise NotApplicableError(f"needs a {kind} of scikit-learn's")
    return estimator
