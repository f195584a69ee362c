from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.core.box_draws import box_draws
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


def test_graded_corners_have_from_none_to_all_of_the_features_at_their_far_ends():
    shares = box_draws("graded", 10, torch.zeros(1, 1000), seed=0)().mean(dim=1)
    assert shares.tolist() == pytest.approx([(i + 0.5) / 10 for i in range(10)], abs=0.05 + 0.06)


@pytest.mark.parametrize(("height", "width", "sides"), [(14, 20, [1, 2]), (28, 30, [1, 2, 4])])
def test_patches_of_all_sizes_move_as_one_in_all_channels(height, width, sides):
    draw = box_draws("patches", 6, torch.zeros(5, 3, height, width), seed=0)
    seen = [set() for _ in sides]
    for draws in [draw() for _ in range(40)]:
        assert draws.shape == (6, 3, height, width)
        assert ((draws >= 0) & (draws <= 1)).all()
        assert torch.equal(draws, draws[:, :1].expand_as(draws))
        for k, image in enumerate(draws[:, 0]):
            side = sides[k % len(sides)]
            # Lines where squares meet, from top to bottom: one in each `side`, wherever it begins.
            borders = (image.diff(dim=1) != 0).any(dim=0).nonzero()[:, 0] + 1
            assert len({int(border) % side for border in borders}) == 1
            assert width // side - 1 <= len(borders) <= -(-width // side)
            seen[k % len(sides)].add(int(borders[0]) % side)
            # Two squares may get the same number by chance.
            assert image.unique().numel() >= 0.95 * (height // side) * (width // side)
    # Squares begin anywhere.
    assert [sorted(each) for each in seen] == [list(range(side)) for side in sides]


def test_patches_are_even_and_those_of_their_seed():
    like = torch.zeros(1, 1, 14, 14)
    before = torch.get_rng_state()
    draw, same = (box_draws("patches", 4, like, seed=3) for _ in range(2))
    many = torch.stack([draw() for _ in range(400)])
    assert torch.equal(many[0], same())
    assert not torch.equal(many[0], many[1])
    assert torch.equal(torch.get_rng_state(), before)
    # Five standard deviations of a mean of 1,600 uniform numbers.
    assert (many.mean(dim=(0, 1)) - 0.5).abs().max() < 5 * 12**-0.5 / 40


def test_patches_are_of_images():
    with pytest.raises(InvalidInputError, match=r"images .* the rows have shape \(1, 4\)"):
        box_draws("patches", 4, torch.zeros(1, 4), seed=0)


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
