"""Sparseness against a slow and plain second implementation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attribution_cases import attributions, table
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.benchmark.metrics.sparseness import Sparseness

VALUES = st.lists(st.integers(-3, 3), min_size=3, max_size=3)


@given(VALUES)
def test_sparseness_is_the_gini_index(drawn: list[int]) -> None:
    row = torch.tensor([drawn], dtype=torch.float32)
    task = table()
    (found,) = Sparseness().compute(attributions(replace(task, rows=task.rows[:1]), row))
    sizes = [abs(value) for value in drawn]
    apart = sum(abs(a - b) for a in sizes for b in sizes)
    expected = apart / (2 * len(sizes) * sum(sizes)) if any(sizes) else 0
    assert found.item() == pytest.approx(expected, abs=1e-6)
