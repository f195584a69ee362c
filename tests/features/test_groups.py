from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.groups import FeatureGroups

N_ROWS, SHAPE = 3, (2, 2)
NUMBERS = st.integers(-5, 5).map(float)
VALUES = st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=3, max_size=3)
MASKS = st.sampled_from([1, N_ROWS]).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0, 1, 2, 7]), min_size=4, max_size=4), min_size=n, max_size=n
    )
)
REDUCTIONS = {
    "mean": lambda numbers: sum(numbers) / len(numbers),
    "smallest": min,
}


def plain(values, mask, rows, reduce):
    reduced = []
    for value, row in zip(values, rows, strict=True):
        numbers = mask[row if len(mask) > 1 else 0]
        shared = [[v for v, m in zip(value, numbers, strict=True) if m == k] for k in numbers]
        reduced.append([reduce(group) for group in shared])
    return reduced


@pytest.mark.parametrize("name", REDUCTIONS)
@given(VALUES, MASKS)
def test_every_feature_gets_what_its_group_has_in_common(name, values, mask):
    groups = FeatureGroups(torch.tensor(mask).view(-1, *SHAPE), torch.zeros(N_ROWS, *SHAPE))
    found = getattr(groups, name)(torch.tensor(values, dtype=torch.float64).view(-1, *SHAPE))
    wanted = plain(values, mask, range(N_ROWS), REDUCTIONS[name])
    assert found.shape == (N_ROWS, *SHAPE)
    assert found.flatten(1).tolist() == [pytest.approx(row) for row in wanted]


@pytest.mark.parametrize("name", REDUCTIONS)
@given(VALUES, MASKS, st.lists(st.integers(0, N_ROWS - 1), max_size=N_ROWS))
def test_some_rows_use_the_masks_of_their_numbers(name, values, mask, rows):
    groups = FeatureGroups(torch.tensor(mask), torch.zeros(N_ROWS, 4))
    some = torch.tensor(values, dtype=torch.float64)[: len(rows)]
    found = getattr(groups, name)(some, torch.tensor(rows, dtype=torch.int64))
    wanted = plain(values[: len(rows)], mask, rows, REDUCTIONS[name])
    assert found.tolist() == [pytest.approx(row) for row in wanted]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.tensor([[0.0, 1.0]]), "integers from 0"),
        (torch.tensor([[0, -1]]), "integers from 0"),
        (torch.tensor([[0j, 1j]]), "integers from 0"),
        (torch.zeros(1, 3, dtype=torch.int64), r"shape \(1, 3\) does not fit rows of shape \(4, 2"),
        (torch.zeros(3, 2, dtype=torch.int64), r"shape \(3, 2\) does not fit rows of shape \(4, 2"),
    ],
)
def test_masks_that_fit_nothing_are_refused(mask, message):
    with pytest.raises(InvalidInputError, match=message):
        FeatureGroups(mask, torch.zeros(4, 2))


def test_numbers_of_groups_may_be_any_however_large():
    mask = torch.tensor([[10**12, 0, 10**12, 10**15]]).view(-1, *SHAPE)
    groups = FeatureGroups(mask, torch.zeros(1, *SHAPE))
    values = torch.tensor([1.0, 2.0, 5.0, 7.0]).view(-1, *SHAPE)
    assert groups.mean(values).flatten().tolist() == [3, 2, 3, 7]
    assert groups.spread(groups.total(values)).tolist() == [[6, 2, 6, 7]]
