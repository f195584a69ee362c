"""The tables of the counterfactual tasks; a table is one decorated function."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.tasks.datasets import data_file
from xai_adapters.errors import require
from xai_adapters.features.kinds import Categorical, Continuous
from xai_adapters.features.schema import FeatureSchema


@dataclass(frozen=True)
class Table:
    """Rows with the classes that a model learns.

    Args:
        rows: (n, d) float32, numbers and one-hot categories.
        labels: (n,) int64 classes.
        schema: what the columns are, and how each feature may change.
        class_names: one name for each class.
        n_training: number of rows, the first ones, to train the model and fit explainers.
        leaf_rows: smallest number of rows in a leaf of a forest.
    """

    rows: Tensor
    labels: Tensor
    schema: FeatureSchema
    class_names: tuple[str, ...]
    n_training: int
    leaf_rows: int = 1


TABLES: dict[str, tuple[str, Callable[[int], Table]]] = {}


def _table(
    name: str, description: str
) -> Callable[[Callable[[int], Table]], Callable[[int], Table]]:
    """Register the decorated function, which makes a table for a seed."""

    def register(make: Callable[[int], Table]) -> Callable[[int], Table]:
        TABLES[name] = description, make
        return make

    return register


# fmt: off
_ADULT_COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)
# fmt: on
_ADULT_NUMBERS = ("age", "education-num", "hours-per-week")
_ADULT_CATEGORIES = ("workclass", "marital-status", "occupation", "race", "sex")


def adult(seed: int) -> Table:
    """Adult as the FIMAP paper prepares it: six columns dropped, balanced by undersampling.

    22,844 people, of whom 17,133 are for training; every feature may change.
    """
    kept = (*_ADULT_NUMBERS, *_ADULT_CATEGORIES)
    people: list[dict[str, str]] = []
    for name in ("adult.data", "adult.test"):
        with data_file(f"adult/{name}").open(newline="", encoding="utf-8") as file:
            people += [
                dict(zip(_ADULT_COLUMNS, line, strict=True))
                for line in csv.reader(file, skipinitialspace=True)
                if len(line) == len(_ADULT_COLUMNS)
            ]
    people = [person for person in people if all(person[name] != "?" for name in kept)]
    rich = np.array([person["income"].startswith(">50K") for person in people])
    random = np.random.default_rng(seed)
    poor = random.choice(np.flatnonzero(~rich), rich.sum(), replace=False)
    chosen = random.permutation(np.concatenate((np.flatnonzero(rich), poor)))
    rows, schema = _encoded(people, _ADULT_NUMBERS, _ADULT_CATEGORIES, integer=True)
    labels = torch.from_numpy(rich.astype(np.int64))
    return Table(rows[chosen], labels[chosen], schema, ("up to 50K", "above 50K"), 17_133)


@_table("adult", "people of the 1994 census and whether they earn above 50,000 dollars")
def _adult(seed: int) -> Table:
    """Adult with race and sex immutable."""
    table = adult(seed)
    free = [name for name in table.schema.names if name not in ("race", "sex")]
    return replace(table, schema=table.schema.restricted(free))


@_table("credit", "made-up applications for a loan; age and sex cannot change")
def _credit(_: int) -> Table:
    """6,000 rows; the first 4,800 are for training, whatever the seed."""
    numbers = ("age", "income", "amount", "duration")
    with data_file("credit/credit.csv").open(newline="", encoding="utf-8") as file:
        people = list(csv.DictReader(file))
    rows, schema = _encoded(people, numbers, ("sex", "housing", "purpose", "history"))
    labels = torch.tensor([int(person["good"]) for person in people])
    free = [name for name in schema.names if name not in ("age", "sex")]
    return Table(rows, labels, schema.restricted(free), ("refused", "granted"), 4800, leaf_rows=3)


@_table("breast-cancer", "scikit-learn's 569 tumours, 30 measures of each")
def _breast_cancer(seed: int) -> Table:
    return _measures("load_breast_cancer", seed)


@_table("wine", "scikit-learn's 178 wines of three growers, 13 measures of each")
def _wine(seed: int) -> Table:
    return _measures("load_wine", seed)


@_table("two-moons", "10,000 points on two noisy half moons, both numbers free")
def _two_moons(seed: int) -> Table:
    points, labels = require("sklearn.datasets", "benchmark").make_moons(
        10_000, noise=0.2, random_state=seed
    )
    schema = FeatureSchema.all_continuous(2, names=["x", "y"])
    rows = torch.from_numpy(points).float()
    return Table(rows, torch.from_numpy(labels), schema, ("upper moon", "lower moon"), 8000)


def _measures(loader: str, seed: int) -> Table:
    """One of scikit-learn's tables of numbers, shuffled; values keep to the range in the data."""
    data = getattr(require("sklearn.datasets", "benchmark"), loader)()
    order = np.random.default_rng(seed).permutation(len(data.data))
    rows = torch.from_numpy(data.data[order]).float()
    schema = FeatureSchema.all_continuous(
        rows.shape[1],
        names=[str(name) for name in data.feature_names],
        lower=rows.amin(dim=0).tolist(),
        upper=rows.amax(dim=0).tolist(),
    )
    labels = torch.from_numpy(data.target[order]).long()
    names = tuple(str(name) for name in data.target_names)
    return Table(rows, labels, schema, names, len(rows) * 7 // 10)


def _encoded(
    people: Sequence[Mapping[str, str]],
    numbers: Iterable[str],
    categories: Iterable[str],
    *,
    integer: bool = False,
) -> tuple[Tensor, FeatureSchema]:
    """Text as float32 rows, numbers first, and the schema with the range of each number."""
    features: list[Continuous | Categorical] = []
    columns: list[np.ndarray[Any, Any]] = []
    for name in numbers:
        values = np.array([float(person[name]) for person in people], dtype=np.float32)
        low, high = float(values.min()), float(values.max())
        features.append(Continuous(name, len(columns), lower=low, upper=high, integer=integer))
        columns.append(values)
    for name in categories:
        texts = np.array([person[name] for person in people])
        found = sorted(set(texts.tolist()))
        at = range(len(columns), len(columns) + len(found))
        features.append(Categorical(name, tuple(found), tuple(at)))
        columns += [(texts == category).astype(np.float32) for category in found]
    return torch.from_numpy(np.stack(columns, axis=1)), FeatureSchema(features)
