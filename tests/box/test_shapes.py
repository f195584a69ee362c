from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.box.shapes import empty_boxes
from xai_adapters.errors import InvalidInputError

SMALL = st.integers(-4, 4).map(lambda n: n / 2)
SHARES = st.integers(0, 4).map(lambda n: n / 4)
NAMES = ["symmetric", "asymmetric", "directed", "masked"]
N_SIDES = {"asymmetric": 2}


def tensors(values, *shape):
    size = torch.Size(shape).numel()
    return st.lists(values, min_size=size, max_size=size).map(
        lambda found: torch.tensor(found, dtype=torch.float64).view(shape)
    )


@st.composite
def problems(draw, name):
    """Two rows of three features, a baseline, a range or none, widths and three draws."""
    return (
        draw(tensors(SMALL, 2, 3)),
        draw(tensors(SMALL, 2, 3)) if name in ("directed", "masked") else None,
        draw(st.sampled_from([None, (-1.0, 1.0), (torch.tensor([-1.0, -2.0, 0.0]), 0.5)])),
        draw(tensors(SHARES, 2, N_SIDES.get(name, 1), 3)),
        draw(tensors(st.integers(0, 7).map(lambda n: n / 8), 3, 3)),
    )


def clipped(value, x, bounds, feature):
    """A number within the range of its feature, which holds x in any case."""
    if bounds is None:
        return value
    low, high = (float(torch.as_tensor(end).expand(3)[feature]) for end in bounds)
    return max(min(low, x), min(max(high, x), value))


def plain_point(name, x, baseline, bounds, width, u, feature):
    """One feature of one point, as the papers write it; all arguments are numbers."""
    if name in ("directed", "masked"):
        way = clipped(baseline, x, bounds, feature) - x
        if name == "masked":
            return x + way if u > 1 - width[0] else x
        return x + u * width[0] * way
    lower = clipped(x - width[0], x, bounds, feature)
    upper = clipped(x + width[-1], x, bounds, feature)
    return lower + u * (upper - lower)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_points_are_those_of_the_plain_formulas_and_lie_between_the_ends(name, data):
    x, baseline, bounds, width, draws = data.draw(problems(name))
    boxes = empty_boxes(name, x, bounds, baseline).replace(width=width)
    points = boxes.points(draws)
    assert (boxes.lower[:, None] <= points).all()
    assert (points <= boxes.upper[:, None]).all()
    for row in range(2):
        for m in range(3):
            for i in range(3):
                wanted = plain_point(
                    name,
                    float(x[row, i]),
                    None if baseline is None else float(baseline[row, i]),
                    bounds,
                    width[row, :, i].tolist(),
                    float(draws[m, i]),
                    i,
                )
                assert points[row, m, i].item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_some_rows_with_draws_of_their_own_are_as_all_rows(name, data):
    x, baseline, bounds, width, draws = data.draw(problems(name))
    empty = empty_boxes(name, x, bounds, baseline)
    both = empty.replace(width=width)
    second = empty.take(torch.tensor([1])).replace(width=width[1:])
    resized = empty.replace(width=torch.ones_like(width))
    assert (resized.lower <= resized.upper).all()  # it knows its bounds
    resized = resized.replace(width=width)
    some = torch.tensor([False, True])
    for own in (second, both.take(slice(1, None)), both.take(some), resized.take(some)):
        assert torch.equal(both.points(draws)[1:], own.points(draws[None]))
        assert torch.equal(both.lower[1:], own.lower)
        assert torch.equal(both.upper[1:], own.upper)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_without_width_a_box_is_its_row(name, data):
    x, baseline, bounds, _, draws = data.draw(problems(name))
    points = empty_boxes(name, x, bounds, baseline).points(draws)
    assert torch.equal(points, x[:, None].expand_as(points))


@pytest.mark.parametrize("name", ["symmetric", "asymmetric", "directed"])
@given(data=st.data())
def test_no_corner_lies_farther_along_a_slope(name, data):
    x, baseline, bounds, width, _ = data.draw(problems(name))
    boxes = empty_boxes(name, x, bounds, baseline).replace(width=width)
    pull = data.draw(tensors(SMALL, 2, 1, 3))
    before = (data.draw(tensors(SMALL, 2, 1, 3)) > 0).double()
    corner = boxes.farthest_corner(pull, before)
    assert torch.equal(corner[pull == 0], before[pull == 0])
    farthest = boxes.points(corner) * pull
    for corner in itertools.product((0.0, 1.0), repeat=3):
        other = boxes.points(torch.tensor([corner], dtype=torch.float64)) * pull
        assert (other.sum(dim=2) <= farthest.sum(dim=2) + 1e-12).all()


@given(data=st.data())
def test_two_equal_sides_are_the_symmetric_box(data):
    x, _, bounds, width, draws = data.draw(problems("symmetric"))
    one, two = (
        empty_boxes(name, x, bounds).replace(width=width.expand(-1, n_sides, -1))
        for name, n_sides in (("symmetric", 1), ("asymmetric", 2))
    )
    assert torch.equal(one.points(draws), two.points(draws))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_slopes_are_those_of_the_mean_over_points(name, data):
    """By finite differences; of masks, the slope of what their points are on average."""
    x, baseline, bounds, width, _ = data.draw(problems(name))
    # Away from the ends of the range, where a slope jumps.
    width = 0.4 * width + 0.15
    empty = empty_boxes(name, x, bounds, baseline)
    grid = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    draws = grid[:, None].expand(-1, 3)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def mean(widths):
        return (empty.replace(width=widths).points(draws) * weights).sum(dim=2).mean(dim=1).sum()

    pull = (weights / len(grid)).expand(2, len(grid), 3)
    slope = empty.replace(width=width).derivative(pull.sum(dim=1), (pull * draws).sum(dim=1))
    for place in width.nonzero().tolist():
        moved = torch.zeros_like(width)
        moved[tuple(place)] = 0.01
        change = (mean(width + moved) - mean(width - moved)) / 0.02
        assert slope[tuple(place)].item() == pytest.approx(change.item(), abs=2e-2)


def test_what_does_not_fit_is_named():
    x = torch.zeros(2, 3)
    for arguments, message in (
        (("directed", None, None), "'directed' leads to a baseline; give one"),
        (("masked", None, torch.tensor(torch.nan)), "the baseline has NaN"),
        (("masked", None, torch.zeros(2)), r"a baseline of shape \(2,\) does not fit .* \(2, 3\)"),
        (("symmetric", None, 0.0), "'symmetric' has no baseline"),
        (("symmetric", (0.0, torch.ones(2)), None), r"upper bound of shape \(2,\) does not fit"),
        (("asymmetric", (1.0, 0.0), None), "a lower and an upper value, in this order"),
    ):
        name, bounds, baseline = arguments
        with pytest.raises(InvalidInputError, match=message):
            empty_boxes(name, x, bounds, baseline)
