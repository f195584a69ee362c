"""Ranks and their correlation, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.core.rank_correlation import average_ranks, rank_correlation

VALUES = st.lists(st.integers(-3, 3), min_size=5, max_size=5)


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_equal_values_share_their_ranks(drawn: list[list[int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = torch.tensor(drawn)
    expected = stats.rankdata(values.numpy(), axis=1) - 1
    np.testing.assert_allclose(average_ranks(values).numpy(), expected)


def test_rank_correlation_is_spearmans() -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = torch.rand(2, 5, 9, generator=torch.Generator().manual_seed(0))
    first[:, :3] = 0
    found = rank_correlation(first, second)
    for a, b, one in zip(first, second, found, strict=True):
        assert one.item() == pytest.approx(stats.spearmanr(a, b).statistic)
