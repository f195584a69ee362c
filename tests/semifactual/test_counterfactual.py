"""Counterfactuals that leave a box: against a plain search, within every schema."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import Generator

from xai_adapters import FeatureSchema
from xai_adapters.semifactual.counterfactual import leave_box


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def leave_one_box(own, destination, order_of, is_class):
    """`leave_box` for one row of free numbers, a question at a time."""

    def at(moved):
        both = enumerate(zip(own, destination, strict=True))
        return [there if k in moved else here for k, (here, there) in both]

    order = sorted(range(len(own)), key=lambda k: order_of[k])
    found, n_moved = None, 0
    while n_moved < len(own) and found is None:
        n_moved = min(len(own), max(n_moved + 1, int(1.125 * n_moved)))
        point = at(order[:n_moved])
        # Where nothing has moved yet there is nothing to ask.
        if point != own and is_class(point):
            found = point
    step = 1.0
    while found is None and step < 2.25**2:
        step *= 2.25
        beyond = [o + step * (e - o) for o, e in zip(own, destination, strict=True)]
        found = beyond if is_class(beyond) else None
    if found is None:
        return own, False
    for k in reversed(order):
        back = [*found[:k], own[k], *found[k + 1 :]]
        if found[k] != own[k] and back != own and is_class(back):
            found = back
    below, above = 0.0, 1.0
    for _ in range(6):
        middle = (below + above) / 2
        point = [o + middle * (f - o) for o, f in zip(own, found, strict=True)]
        below, above = (below, middle) if is_class(point) else (middle, above)
    return [o + above * (f - o) for o, f in zip(own, found, strict=True)], True


QUARTERS = st.integers(-8, 8).map(lambda k: k / 4)


@settings(max_examples=100)
@given(data=st.data(), n_columns=st.integers(1, 6), n_rows=st.integers(1, 4))
def test_a_counterfactual_is_that_of_a_plain_search(data, n_columns, n_rows):
    def quarters(*shape):
        size = math.prod(shape)
        return torch.tensor(
            data.draw(st.lists(QUARTERS, min_size=size, max_size=size)), dtype=torch.float64
        ).view(shape)

    own, change = quarters(n_rows, n_columns), quarters(n_rows, n_columns)
    slope, square = quarters(n_columns), quarters(n_columns)
    place = torch.tensor([data.draw(st.permutations(range(n_columns))) for _ in range(n_rows)])

    def is_class(points):
        return points @ slope + points.square() @ square > 1

    best, success = leave_box(
        FeatureSchema.all_continuous(n_columns),
        own,
        own + change,
        place,
        lambda rows, points: is_class(points),
    )
    for row in range(n_rows):
        expected, found = leave_one_box(
            own[row].tolist(),
            (own + change)[row].tolist(),
            place[row].tolist(),
            lambda point: bool(is_class(torch.tensor([point], dtype=torch.float64))),
        )
        assert bool(success[row]) == found
        assert best[row].tolist() == pytest.approx(expected, abs=1e-9)


@given(schema=schemas(), seed=st.integers(0, 99))
def test_a_counterfactual_keeps_every_constraint_and_lies_where_it_was_asked(schema, seed):
    encoded = schema.encode(rows_of(schema, 5, seed, torch.float64))
    weights = normal(schema.n_encoded, seed=seed).double()
    before = encoded @ weights > 0
    end = schema.settle(encoded, encoded + 3 * normal(*encoded.shape, seed=seed + 1).double())
    owner = torch.arange(schema.n_encoded)
    n_numbers = len(schema.continuous)
    for start, size in zip(
        np.cumsum([n_numbers, *schema.group_sizes]), schema.group_sizes, strict=False
    ):
        owner[start : start + size] = int(start)
    place = owner.unique(return_inverse=True)[1].expand(len(encoded), -1)
    asked: list[list[float]] = []

    def flips(rows, points):
        asked.extend(points.tolist())
        return (points @ weights > 0) != before[rows]

    best, success = leave_box(schema, encoded, end, place, flips)
    assert torch.equal(schema.settle(encoded, best), best)
    assert torch.equal(success, (best @ weights > 0) != before)
    assert torch.equal(best[~success], encoded[~success])
    assert all(point in asked for point in best[success].tolist())


def test_of_a_linear_decision_no_change_is_unneeded():
    rows, weights = normal(50, 5).double(), torch.tensor([3.0, 0.1, -2.0, 0.0, 1.0]).double()
    before = rows @ weights > 0
    end = rows - torch.where(before, 1.0, -1.0)[:, None] * weights.sign()
    place = torch.tensor([0, 4, 1, 3, 2]).expand(50, -1)
    best, success = leave_box(
        FeatureSchema.all_continuous(5),
        rows,
        end,
        place,
        lambda of, points: (points @ weights > 0) != before[of],
    )
    assert success.all()
    for column in range(5):
        back = best.clone()
        back[:, column] = rows[:, column]
        moved = best[:, column] != rows[:, column]
        assert torch.equal((back @ weights > 0)[moved], before[moved])
