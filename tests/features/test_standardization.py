from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from xai_adapters.features.standardization import standardization

SEEDS = st.integers(0, 2**31)


@given(st.integers(1, 5), st.booleans(), SEEDS)
def test_mean_and_spread_are_those_of_the_chosen_columns(n_chosen, shared, seed):
    # More rows than are worked on at once.
    rows = torch.randn(5000, 5, generator=Generator().manual_seed(seed)) * 7 + 3
    columns = torch.randperm(5, generator=Generator().manual_seed(seed))[:n_chosen].tolist()
    mean, spread = standardization(rows, shared, columns)
    numbers = rows[:, columns].double()
    variance = numbers.var(dim=0, correction=0)
    wanted = (variance.mean() if shared else variance).sqrt().expand(n_chosen)
    torch.testing.assert_close(mean.double(), numbers.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(spread.double(), wanted, rtol=1e-4, atol=1e-4)
