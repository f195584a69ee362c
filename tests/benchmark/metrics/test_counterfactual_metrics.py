"""Every metric of counterfactuals against a plain one, row by row and feature by feature."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import Tensor

from xai_adapters.benchmark.metrics import Counterfactuals, ReferenceRows
from xai_adapters.benchmark.metrics.metric import measured, registered_metrics
from xai_adapters.features.kinds import Categorical, Continuous
from xai_adapters.features.schema import FeatureSchema


def quality(
    reference: ReferenceRows, before: Tensor, after: Tensor, original_class: Tensor, labels
) -> dict[str, Tensor]:
    return dict(
        measured(
            Counterfactuals(original_class, labels(after), reference, before, after, labels),
            registered_metrics(),
        )
    )


def plain_values(schema: FeatureSchema, row: list[float]) -> list[float | int]:
    """A row as one value a feature: its numbers, then the position of each category."""
    values: list[float | int] = [row[feature.column] for feature in schema.continuous]
    for feature in schema.categorical:
        held = [row[column] for column in feature.columns]
        values.append(held.index(max(held)) if feature.one_hot else int(held[0]))
    return values


def plain_quality(
    reference: ReferenceRows, before: Tensor, after: Tensor, original_class: list[int], labels
) -> dict[str, list[float]]:
    schema = reference.schema
    c = len(schema.continuous)
    known = [plain_values(schema, row) for row in reference.rows.double().tolist()]
    spread, mad = [], []
    for j in range(c):
        column = sorted(values[j] for values in known)
        mean = sum(column) / len(column)
        sd = (sum((x - mean) ** 2 for x in column) / (len(column) - 1)) ** 0.5 or 1.0
        middle = column[(len(column) - 1) // 2]
        found = sorted(abs(x - middle) for x in column)[(len(column) - 1) // 2]
        spread.append(sd)
        mad.append(found or sd)

    def apart(one: list[float | int], other: list[float | int]) -> float:
        numbers = sum(((one[j] - other[j]) / spread[j]) ** 2 for j in range(c))
        return math.sqrt(numbers + sum(a != b for a, b in zip(one[c:], other[c:], strict=True)))

    rows: dict[str, list[float]] = {}
    for i in range(len(before)):
        a, b = (plain_values(schema, rows_[i].double().tolist()) for rows_ in (before, after))
        reached = int(labels(after[i : i + 1]))
        valid = reached != original_class[i]
        moved = [abs(a[j] - b[j]) for j in range(c)]
        changed = [moved[j] / spread[j] > 1e-4 for j in range(c)]
        changed += [x != y for x, y in zip(a[c:], b[c:], strict=True)]
        removable = 0
        for j, has in enumerate(changed):
            if has and valid:
                back = after[i : i + 1].clone()
                feature = (*schema.continuous, *schema.categorical)[j]
                columns = [feature.column] if j < c else list(feature.columns)
                back[:, columns] = before[i : i + 1][:, columns]
                removable += int(labels(back)) != original_class[i]
        own = [v for v, label in zip(known, reference.labels.tolist(), strict=True)
               if label == reached]  # fmt: skip
        distances = sorted(apart(b, other) for other in own)
        n_encoded = c + sum(len(feature.categories) for feature in schema.categorical)
        width = len(own) ** (-1 / (n_encoded + 4)) if own else 1.0
        kernel = [math.exp(-(d**2) / (2 * width**2)) for d in distances]
        of_row = {
            "changed_features": sum(changed),
            "removable_changes": removable,
            "neighbour_distance": statistics.fmean(distances[:5]) if own else math.nan,
            "log_density": math.log(statistics.fmean(kernel)) if own and any(kernel) else None,
        }
        if schema.categorical:
            of_row["changed_categories"] = sum(changed[c:])
        if schema.continuous:
            of_row |= {
                "l1": sum(moved[j] / spread[j] for j in range(c)),
                "l1_mad": sum(moved[j] / mad[j] for j in range(c)),
                "l2": math.sqrt(sum((moved[j] / spread[j]) ** 2 for j in range(c))),
                "linf": max(moved[j] / spread[j] for j in range(c)),
            }
        rows.setdefault("validity", []).append(float(valid))
        for name, value in of_row.items():
            rows.setdefault(name, []).append(value if valid else math.nan)
    return rows


@settings(max_examples=60)
@given(schemas(), st.integers(0, 2**16))
def test_quality_is_what_the_plain_one_says(schema: FeatureSchema, seed: int) -> None:
    rows, before, other = (rows_of(schema, n, seed + i) for i, n in enumerate((30, 6, 6)))
    after = torch.where(torch.arange(6)[:, None] < 2, before, other)
    weights = torch.randn(schema.n_columns, generator=torch.Generator().manual_seed(seed))

    def labels(some: Tensor) -> Tensor:
        return ((some.double() * weights.double()).sum(dim=1) > weights.double().sum()).long()

    reference = ReferenceRows(schema, rows, labels(rows))
    original_class = labels(before)
    found = quality(reference, before, after, original_class, labels)
    wanted = plain_quality(reference, before, after, original_class.tolist(), labels)
    assert set(found) == {*wanted, "violations"}
    for name, values in wanted.items():
        for ours, plain in zip(found[name].tolist(), values, strict=True):
            # None: too far for a density that the plain one could still tell from 0.
            if plain is not None:
                assert ours == pytest.approx(plain, rel=1e-4, abs=1e-4, nan_ok=True), name


SCHEMA = FeatureSchema(
    [
        Continuous("age", 0, lower=0, upper=100, direction="up", integer=True),
        Continuous("sum", 1, mutable=False),
        Categorical("home", ("rent", "own"), (2, 3)),
        Categorical("sex", ("f", "m"), (4, 5), mutable=False),
    ]
)
ROW = [40.0, 3.0, 1.0, 0.0, 0.0, 1.0]
BROKEN = {
    "nothing": (ROW, 0),
    "all that is allowed": ([41.0, 3.0, 0.0, 1.0, 0.0, 1.0], 0),
    "rounding": ([40.00001, 3.0, 1.0, 0.0, 0.0, 1.0], 0),
    "the wrong way": ([39.0, 3.0, 1.0, 0.0, 0.0, 1.0], 1),
    "out of bounds": ([101.0, 3.0, 1.0, 0.0, 0.0, 1.0], 1),
    "a fraction": ([40.5, 3.0, 1.0, 0.0, 0.0, 1.0], 1),
    "immutable": ([40.0, 4.0, 1.0, 0.0, 1.0, 0.0], 2),
    "not one-hot": ([40.0, 3.0, 0.5, 0.5, 0.0, 1.0], 1),
    "no category": ([40.0, 3.0, 0.0, 0.0, 0.0, 1.0], 1),
}


@pytest.mark.parametrize("case", BROKEN)
def test_violations_count_the_features_that_break_their_rules(case: str) -> None:
    after, n_broken = BROKEN[case]
    rows = torch.tensor([ROW, [60.0, 5.0, 0.0, 1.0, 1.0, 0.0], [20.0, 1.0, 1.0, 0.0, 0.0, 1.0]])
    reference = ReferenceRows(SCHEMA, rows, torch.tensor([0, 1, 1]))
    found = quality(
        reference, torch.tensor([ROW]), torch.tensor([after]), torch.tensor([0]),
        lambda some: torch.zeros(len(some), dtype=torch.int64),
    )  # fmt: skip
    assert found["violations"].tolist() == [n_broken]
    assert found["validity"].tolist() == [0]
    assert found["l2"].isnan().all()
