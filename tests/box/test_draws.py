from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.box.draws import box_draws
from xai_adapters.errors import InvalidInputError

NAMES = ["uniform", "antithetic", "sobol", "corners", "graded", "adversarial"]


@pytest.mark.parametrize("name", NAMES)
@given(
    n=st.integers(1, 9),
    shape=st.sampled_from([(1,), (3,), (2, 2, 2)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 3),
)
def test_draws_lie_in_the_unit_box_and_are_those_of_their_seed(name, n, shape, dtype, seed):
    before = torch.get_rng_state()
    like = torch.zeros(2, *shape, dtype=dtype)
    one, same = (box_draws(name, n, like, seed) for _ in range(2))
    found = [one(), one()]
    assert torch.equal(torch.get_rng_state(), before)
    for draws in found:
        assert draws.shape == (n, *shape)
        assert draws.dtype == dtype
        assert ((draws >= 0) & (draws <= 1)).all()
        if name in ("corners", "graded", "adversarial"):
            assert ((draws == 0) | (draws == 1)).all()
        assert torch.equal(draws, same())


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_new_each_time_and_even(name):
    draw = box_draws(name, 16, torch.zeros(1, 4), seed=1)
    many = torch.stack([draw() for _ in range(400)])
    assert not torch.equal(many[0], many[1])
    # Five standard deviations of a mean of 6,400 numbers that are 0 or 1 at the widest.
    assert (many.mean(dim=(0, 1)) - 0.5).abs().max() < 5 * 0.5 / 80
    # No two features go together, but where a draw's share says that all do.
    together = torch.corrcoef(many.flatten(0, 1).T)[~torch.eye(4, dtype=bool)]
    assert together.tolist() == pytest.approx([1 / 3 if name == "graded" else 0] * 12, abs=0.07)


@pytest.mark.parametrize("shape", [(1000,), (10, 100), (3, 20, 50), (2, 10, 10, 10)])
def test_graded_corners_have_from_none_to_all_of_the_features_at_their_far_ends(shape):
    masks = box_draws("graded", 10, torch.zeros(1, *shape), seed=0)()
    shares = masks.flatten(1).mean(dim=1).sort().values
    assert shares.tolist() == pytest.approx([(i + 0.5) / 10 for i in range(10)], abs=0.05 + 0.06)
    # An image's pixels go with all their channels.
    assert torch.equal(masks, masks[:, :1].expand_as(masks)) is (len(shape) > 2)


def error_of_mean(name, function, seed):
    draw = box_draws(name, 16, torch.zeros(1, 3), seed)
    return float((function(draw()).mean() - 0.5) ** 2)


@pytest.mark.parametrize("name", ["antithetic", "sobol"])
def test_they_reduce_the_variance_of_a_smooth_mean(name):
    def function(u):
        return (u * torch.tensor([0.5, 0.3, 0.2])).sum(dim=1)

    plain, better = (
        sum(error_of_mean(kind, function, seed) for seed in range(50)) for kind in ("uniform", name)
    )
    assert better < plain / 10


def test_more_features_than_sobol_points_have_are_named():
    with pytest.raises(InvalidInputError, match="at most 21,201 features, and rows have 30,000"):
        box_draws("sobol", 4, torch.zeros(1, 3, 100, 100), seed=0)
