"""Small tables and models for counterfactual comparators, and plain second implementations."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_wine, make_moons
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema
from xai_adapters.registry import Subject

MIXED = FeatureSchema(
    [
        Categorical("job", ("clerk", "cook", "smith"), columns=(0, 1, 2)),
        Continuous("age", 3, lower=18, upper=70, direction="up", integer=True),
        Continuous("income", 4, lower=0.0, upper=9.0, cost=2.0),
        Categorical("home", (10, 20, 30, 40), columns=(5,), one_hot=False, allowed=(10, 30, 40)),
        Continuous("height", 6, mutable=False),
        Categorical("citizen", (False, True), columns=(7, 8), mutable=False),
        Continuous("debt", 9, reach=(-2.0, 1.0)),
    ]
)


def mixed_rows(n: int, seed: int = 0) -> Tensor:
    random = np.random.default_rng(seed)
    rows = np.zeros((n, 10))
    rows[np.arange(n), random.integers(0, 3, n)] = 1
    rows[:, 3] = random.integers(18, 71, n)
    rows[:, 4] = random.uniform(0, 9, n)
    rows[:, 5] = random.integers(0, 4, n)
    rows[:, 6] = random.normal(size=n)
    rows[np.arange(n), 7 + random.integers(0, 2, n)] = 1
    rows[:, 9] = random.normal(0, 2, n)
    return torch.from_numpy(rows).float()


def mixed_labels(rows: Tensor) -> np.ndarray:
    """Every feature counts."""
    score = rows[:, 4] - 3 * rows[:, 1] + rows[:, 3] / 20 - rows[:, 9] + rows[:, 5] - rows[:, 6]
    return (score + rows[:, 8] > 6.5).long().numpy()


class Standardised(nn.Module):
    """A network on columns divided by their spread, quickly fitted."""

    def __init__(self, rows: Tensor, labels: np.ndarray, outputs: int = 2) -> None:
        super().__init__()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("spread", rows.std(dim=0).clamp(min=1e-6))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Linear(rows.shape[1], 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(),
                nn.Linear(24, outputs),
            )  # fmt: skip
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        for _ in range(150):
            loss = nn.functional.cross_entropy(self(rows), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers((rows - self.mean) / self.spread)


@cache
def subject(name: str, seed: int = 0) -> tuple[Subject, Tensor]:
    """A subject, and rows to explain that are not its background."""
    table, _, kind = name.partition(" ")
    schema = None
    if table == "moons":
        points, labels = make_moons(500, noise=0.2, random_state=0)
        rows = torch.from_numpy(points).float()
    elif table == "wine":
        data = load_wine()
        order = np.random.default_rng(0).permutation(len(data.data))
        rows, labels = torch.from_numpy(data.data[order]).float(), data.target[order]
        schema = FeatureSchema.all_continuous(
            13, lower=rows.amin(dim=0).tolist(), upper=rows.amax(dim=0).tolist()
        )
    else:
        rows, schema = mixed_rows(400), MIXED
        labels = mixed_labels(rows)
    n = 150 if table == "wine" else len(rows) - 30
    makers = {
        "forest": lambda: RandomForestClassifier(20, random_state=0),
        "tree": lambda: DecisionTreeClassifier(max_depth=6, random_state=0),
        "linear": lambda: LogisticRegression(max_iter=5000),
    }
    if kind == "network":
        model = Standardised(rows[:n], labels[:n].astype(np.int64), len(set(labels.tolist())))
    else:
        model = makers[kind]().fit(rows[:n].numpy(), labels[:n])
    return Subject(model, rows[:n], "tabular", None, seed, schema), rows[n:]


def keeps(schema: FeatureSchema, before: list[float], after: list[float]) -> bool:
    """Whether a changed row keeps every constraint: feature by feature, in plain Python."""
    for feature in schema.features:
        if isinstance(feature, Continuous):
            old, new = before[feature.column], after[feature.column]
            if new == old:
                continue
            step = new - old
            fine = (
                feature.mutable
                and (feature.lower <= new <= feature.upper or _between(old, new, feature))
                and feature.reach[0] - 1e-6 <= step <= feature.reach[1] + 1e-6
                and not (feature.direction == "up" and step < 0)
                and not (feature.direction == "down" and step > 0)
                and (not feature.integer or new == round(new))
            )
        else:
            old_cells = [before[column] for column in feature.columns]
            new_cells = [after[column] for column in feature.columns]
            if new_cells == old_cells:
                continue
            if feature.one_hot:
                fine = sorted(new_cells) == [0.0] * (len(new_cells) - 1) + [1.0]
                code = new_cells.index(max(new_cells))
            else:
                code = int(new_cells[0])
                fine = code == new_cells[0] and 0 <= code < len(feature.categories)
            fine = fine and feature.mutable
            fine = fine and (feature.allowed is None or feature.categories[code] in feature.allowed)
        if not fine:
            return False
    return True


def _between(old: float, new: float, feature: Continuous) -> bool:
    """A value outside the bounds may go towards them."""
    return old < new < feature.lower or feature.upper < new < old


def plain_length(
    schema: FeatureSchema, background: Tensor, before: list[float], after: list[float]
) -> float:
    """The metric of `EncodedSubject`, feature by feature."""
    squares, categories = 0.0, 0.0
    for feature in schema.features:
        if isinstance(feature, Continuous):
            column = background[:, feature.column].double().numpy()
            unit = column.std() if column.max() > column.min() else 1.0
            change = (after[feature.column] - before[feature.column]) / unit
            squares += (change * feature.cost) ** 2
        elif any(after[column] != before[column] for column in feature.columns):
            categories += feature.cost
    return math.sqrt(squares) + categories
