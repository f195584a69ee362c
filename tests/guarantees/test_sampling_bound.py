"""What draws from a box do not show is bounded, and the largest safe scale is found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from xai_adapters.guarantees import largest_safe_scale, violating_mass


@given(
    safe=st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=5),
    n_rounds=st.integers(1, 8),
)
def test_the_largest_safe_scale_is_tried_and_found_to_its_resolution(safe, n_rounds):
    limit, tried = torch.tensor(safe), []

    def violates(rows, scale, number):
        tried.extend(zip([number] * len(rows), rows.tolist(), scale.tolist(), strict=True))
        return scale > limit[rows]

    scale = largest_safe_scale(violates, len(safe), n_rounds, torch.device("cpu"))
    assert (scale <= limit).all()
    assert (scale > limit.clamp(max=1) - 2 ** (1 - n_rounds)).logical_or(scale == 1).all()
    for row, found in enumerate(scale.tolist()):
        questions = [(number, asked) for number, of, asked in tried if of == row]
        assert [number for number, _ in questions] == list(range(len(questions)))
        assert len(questions) <= n_rounds
        assert found == 0 or found in [asked for _, asked in questions]


@pytest.mark.parametrize(("n_rounds", "sharpness"), [(1, 0.8), (6, 0.0)])
def test_the_bound_is_broken_as_rarely_as_it_says(n_rounds, sharpness):
    # Of a box [0, s] the part beyond `limit` violates: at first a little more than the bound.
    generator, n_rows, n_draws, delta = Generator().manual_seed(0), 20_000, 100, 0.1
    bound = violating_mass(n_draws, n_rounds, 1 - delta)
    limit = 1 - 1.001 * bound

    def violates(rows, scale, number):
        draws = torch.rand((len(rows), n_draws), generator=generator)
        return (draws * scale[:, None] > limit).any(dim=1)

    scale = largest_safe_scale(violates, n_rows, n_rounds, torch.device("cpu"))
    broken = (1 - limit / scale > bound).double().mean()
    assert sharpness * delta <= broken <= delta
    assert n_rounds == 1 or scale.mean() > 0.8 * limit


def test_the_bound_is_that_of_independent_draws():
    # (1 - p)^n for p at the bound is at most delta / m, and not much less.
    for n_draws, n_rounds, confidence in [(100, 1, 0.95), (1000, 6, 0.99)]:
        passes = (1 - violating_mass(n_draws, n_rounds, confidence)) ** n_draws
        assert 0.8 < passes * n_rounds / (1 - confidence) <= 1
    assert violating_mass(1, 1, 0.95) == 1
