from __future__ import annotations

import torch
from hypothesis import strategies as st

SMALL = st.integers(-3, 3).map(float)


def matrices(n_rows: int, n_columns: int) -> st.SearchStrategy[torch.Tensor]:
    """Small whole numbers (n_rows, n_columns), float64."""
    row = st.lists(SMALL, min_size=n_columns, max_size=n_columns)
    return st.lists(row, min_size=n_rows, max_size=n_rows).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )
