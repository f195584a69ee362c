"""Ranks and their correlation, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from xai_adapters.utils.rank_correlation import average_ranks, rank_correlation

VALUES = st.lists(st.integers(-3, 3), min_size=5, max_size=5)


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_equal_values_share_their_ranks(drawn: list[list[int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = torch.tensor(drawn)
    expected = stats.rankdata(values.numpy(), axis=1) - 1
    np.testing.assert_allclose(average_ranks(values).numpy(), expected)


@given(VALUES, VALUES)
@example([2] * 5, [-1] * 5)
@example([2] * 5, [0, 1, 2, 3, 3])
def test_rank_correlation_is_spearmans(first: list[int], second: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    found = rank_correlation(torch.tensor([first]), torch.tensor([second])).item()
    constant = [len(set(each)) == 1 for each in (first, second)]
    if any(constant):
        assert found == all(constant)
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic)
