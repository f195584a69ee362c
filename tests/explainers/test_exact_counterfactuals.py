"""The exact comparators against slow searches that cannot miss, and against all others."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("sklearn")

from counterfactual_cases import keeps, plain_length, subject
from schemas import rows_of, schemas
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from xai_adapters.explainers.encoded_subject import EncodedSubject
from xai_adapters.explainers.exact_counterfactuals import (
    nearest_leaf,
    nearest_on_grid,
    nearest_on_plane,
)
from xai_adapters.features.schema import Continuous, FeatureSchema
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import Subject, explainer_entry


def float32_neighbours(threshold: float) -> tuple[float, float]:
    """The float32 numbers on either side of a threshold: at most it, and above it."""
    near = np.float32(threshold)
    if near <= threshold:
        return float(near), float(np.nextafter(near, np.float32(np.inf)))
    return float(np.nextafter(near, np.float32(-np.inf))), float(near)


def values_of(schema: FeatureSchema, tree: DecisionTreeClassifier, row: list[float]) -> list[list]:
    """For each feature the cells it might take: all categories, and all ends of a tree's boxes."""
    found: list[list] = []
    for feature in schema.features:
        if not isinstance(feature, Continuous):
            k = len(feature.categories)
            cells = np.eye(k).tolist() if feature.one_hot else [[float(code)] for code in range(k)]
            found.append([dict(zip(feature.columns, held, strict=True)) for held in cells])
            continue
        own = row[feature.column]
        numbers = [own, feature.lower, feature.upper, *(own + reach for reach in feature.reach)]
        for column, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if column == feature.column:
                numbers += float32_neighbours(threshold)
        numbers = [number for number in numbers if math.isfinite(number)]
        if feature.integer:
            numbers += [f(number) for number in numbers for f in (math.floor, math.ceil)]
        found.append([{feature.column: number} for number in {*numbers}])
    return found


@settings(max_examples=80)
@given(schemas(max_continuous=2, max_categorical=2), st.integers(0, 1000), st.integers(1, 4))
def test_no_point_is_nearer_than_the_nearest_leafs(schema: FeatureSchema, seed: int, depth: int):
    rows = rows_of(schema, 40, seed)
    labels = np.random.default_rng(seed).integers(0, 3, 40)
    tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(rows.numpy(), labels)
    box = BlackBox(tree)
    some = rows[:12].clone()
    for feature in schema.continuous:
        # Outside of bounds, and no whole numbers.
        some[6:, feature.column] += 0.25
    original_class = box.labels(some)
    found = nearest_leaf(Subject(tree, rows, "tabular", None, 0, schema)).counterfactuals(
        some, original_class
    )
    for row, label, after in zip(some, original_class, found, strict=True):
        points = []
        for cells in itertools.product(*values_of(schema, tree, row.tolist())):
            point = row.tolist()
            for cell in cells:
                for column, value in cell.items():
                    point[column] = value
            if keeps(schema, row.tolist(), point):
                points.append(point)
        flips = box.labels(torch.tensor(points)) != label
        lengths = [
            plain_length(schema, rows, row.tolist(), point)
            for point, flip in zip(points, flips.tolist(), strict=True)
            if flip
        ]
        if not lengths:
            assert torch.equal(after, row)
            continue
        assert int(box.labels(after[None])) != label
        assert keeps(schema, row.tolist(), after.tolist())
        assert plain_length(schema, rows, row.tolist(), after.tolist()) == pytest.approx(
            min(lengths), rel=1e-4, abs=1e-6
        )


@pytest.mark.parametrize("name", ["moons tree", "wine tree", "mixed tree"])
@pytest.mark.parametrize(
    "entry",
    ["growing_spheres", "nearest_unlike", "nearest_on_grid", "dice_random", "dice_genetic"],
)
def test_no_method_comes_nearer_to_a_tree_than_its_nearest_leaf(entry: str, name: str):
    if entry.startswith("dice"):
        pytest.importorskip("dice_ml")
    if entry == "nearest_on_grid" and name != "moons tree":
        pytest.skip("serves two columns")
    of, rows = subject(name)
    encoded, box = EncodedSubject.of(of), BlackBox(of.model)
    rows = rows[3:6] if entry.startswith("dice") else rows
    original_class = box.labels(rows)
    exact, other = (
        explainer_entry(each).load()(of).counterfactuals(rows, original_class)
        for each in ("nearest_leaf", entry)
    )
    before = encoded.schema.encode(rows)
    lengths = [encoded.length(before, encoded.schema.encode(rows_)) for rows_ in (exact, other)]
    flipped = box.labels(other) != original_class
    kept = torch.tensor(
        [keeps(encoded.schema, *pair) for pair in zip(rows.tolist(), other.tolist(), strict=True)]
    )
    assert (box.labels(exact) != original_class)[flipped & kept].all()
    assert (lengths[0] <= lengths[1] + 1e-4)[flipped & kept].all()
    assert (flipped & kept).any()


NUMBERS = st.integers(-6, 6).map(lambda k: k / 2)


@st.composite
def planes(draw) -> tuple[np.ndarray, np.ndarray, FeatureSchema, Tensor]:
    """Weights (K, d) and biases (K,) of a linear classifier, limits, and rows."""
    d, n_classes = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    weights = [[draw(NUMBERS) for _ in range(d)] for _ in range(n_classes)]
    features = [
        Continuous(
            f"x{column}", column, mutable=draw(st.sampled_from([True, True, False])),
            direction=draw(st.sampled_from(["both", "up", "down"])),
            lower=draw(st.sampled_from([-math.inf, -4.0])),
            upper=draw(st.sampled_from([math.inf, 4.0])),
            cost=draw(st.sampled_from([0.5, 1.0, 2.0])),
        )
        for column in range(d)
    ]  # fmt: skip
    rows = torch.tensor([[draw(NUMBERS) for _ in range(d)] for _ in range(6)])
    biases = [draw(NUMBERS) for _ in range(n_classes)]
    return np.array(weights), np.array(biases), FeatureSchema(features), rows


def linear(weights: np.ndarray, biases: np.ndarray) -> LogisticRegression:
    model = LogisticRegression()
    model.classes_ = np.arange(len(weights))
    if len(weights) == 2:
        weights, biases = weights[1:] - weights[:1], biases[1:] - biases[:1]
    model.coef_, model.intercept_ = weights, biases
    return model


def shortest_step(slope: np.ndarray, low: np.ndarray, high: np.ndarray, rise: float) -> float:
    """The least norm of a step within limits that climbs so far.

    Every set of coordinates at an end is tried, with the others along the slope.
    """
    best = math.inf
    for state in itertools.product(("low", "high", "free"), repeat=len(slope)):
        free = np.array([held == "free" for held in state])
        step = np.where([held == "low" for held in state], low, high)
        if not np.isfinite(step[~free]).all():
            continue
        step[free] = 0.0
        missing = rise - slope @ step
        steepness = (slope[free] ** 2).sum()
        if missing > 1e-9 and steepness == 0:
            continue
        step[free] = slope[free] * max(missing, 0) / (steepness or 1)
        if (step >= low - 1e-9).all() and (step <= high + 1e-9).all():
            best = min(best, float(np.linalg.norm(step)))
    return best


@settings(max_examples=100)
@given(planes())
def test_no_point_is_nearer_than_the_one_on_the_plane(case):
    weights, biases, schema, rows = case
    model = linear(weights, biases)
    of = Subject(model, rows, "tabular", None, 0, schema)
    encoded, box = EncodedSubject.of(of), BlackBox(model)
    original_class = box.labels(rows)
    found = nearest_on_plane(of).counterfactuals(rows, original_class)
    scale = encoded.scale.double().numpy()
    lower, upper = schema.intervals(rows)
    for at, (row, label) in enumerate(
        zip(rows.double().numpy(), original_class.tolist(), strict=True)
    ):
        low = (lower[at].double().numpy() - row) / scale
        high = (upper[at].double().numpy() - row) / scale
        others = [
            (
                (weights[k] - weights[label]) * scale,
                max(0.0, (weights[label] - weights[k]) @ row + biases[label] - biases[k]),
            )
            for k in range(len(weights)) if k != label
        ]  # fmt: skip
        lengths = [shortest_step(slope, low, high, rise) for slope, rise in others]
        length = float(encoded.length(rows[at : at + 1], found[at : at + 1]))
        flipped = int(box.labels(found[at : at + 1])) != label
        assert flipped == bool((found[at] != rows[at]).any())
        assert keeps(schema, rows[at].tolist(), found[at].tolist())
        if flipped:
            assert length == pytest.approx(min(lengths), rel=1e-2, abs=1e-2)
        else:
            # Not even a little less than what flips can be reached, but on the very edge.
            assert min(lengths) == math.inf or any(
                shortest_step(slope, low, high, rise + 1e-3) == math.inf for slope, rise in others
            )


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_a_linear_classifier(bias: bool):
    torch.manual_seed(0)
    for outputs in (1, 2, 3):
        model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, outputs, bias=bias))
        rows = torch.randn(40, 3)
        box = BlackBox(model)
        original_class = box.labels(rows)
        found = nearest_on_plane(Subject(model, rows, "tabular", None)).counterfactuals(
            rows, original_class
        )
        assert (box.labels(found) != original_class).double().mean() == 1.0
        halfway = rows + 0.99 * (found - rows)
        assert (box.labels(halfway) == original_class).all()


def test_the_grid_is_searched_completely():
    of, rows = subject("moons tree")
    box, unit = BlackBox(of.model), of.background.std(dim=0, correction=0)
    original_class = box.labels(rows)
    found = nearest_on_grid(of).counterfactuals(rows, original_class)
    axes = [
        np.linspace(low - 0.3 * u, high + 0.3 * u, 400, dtype=np.float32)
        for low, high, u in zip(*of.background.aminmax(dim=0), unit, strict=True)
    ]
    grid = np.stack([np.repeat(axes[0], 400), np.tile(axes[1], 400)], axis=1)
    labels = of.model.predict(grid)
    for row, label, after in zip(rows[:10].numpy(), original_class, found, strict=False):
        others = grid[labels != int(label)]
        lengths = np.linalg.norm((others - row) / unit.numpy(), axis=1)
        length = np.linalg.norm((after.numpy() - row) / unit.numpy())
        assert length == pytest.approx(lengths.min(), rel=1e-3)
