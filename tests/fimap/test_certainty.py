"""The rank of a row's certainty among the fitted rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Generator

from xai_adapters.fimap import MinimalPerturbation


def two_classes(rows: np.ndarray) -> np.ndarray:
    return np.stack((rows[:, 0] < 0, rows[:, 0] >= 0), axis=1).astype(float)


def test_the_rank_counts_the_fitted_rows_that_are_strictly_nearer_to_the_boundary() -> None:
    rows = torch.randn(40, 2, generator=Generator().manual_seed(0))
    explainer = MinimalPerturbation(epochs=1, seed=0).fit(rows, two_classes)
    lengths = explainer.certainty(rows).length
    # Every row is tied with a fitted one, and some fitted rows are tied with one another.
    fitted = torch.cat((lengths, lengths[:10], lengths[:5])).sort().values
    explainer._fitted = replace(explainer._fitted, lengths=fitted)
    expected = [sum(other < own for other in fitted.tolist()) for own in lengths.tolist()]
    found = explainer.certainty(rows).rank * len(fitted)
    assert found.round().int().tolist() == expected
