from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters import InvariantBox
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.fade_to_colour import FadeToColourSampler
from xai_adapters.box.shapes import empty_boxes
from xai_adapters.model.decision import Decision

LOWER, UPPER = -1.0, 2.0


def fading(x, most, *, n=8, seed=0):
    decision = Decision(lambda x: torch.stack((x.flatten(1).sum(dim=1), 0 * x.flatten(1)[:, 0]), 1),
                        x, output_type="logits")  # fmt: skip
    largest = empty_boxes("symmetric", x, (LOWER, UPPER)).replace(width=most[:, None])
    return FadeToColourSampler(Hinge(decision), largest, n, seed), largest


def numbers(low, high, shape):
    size = torch.Size(shape).numel()
    return st.lists(st.floats(low, high), min_size=size, max_size=size).map(
        lambda found: torch.tensor(found, dtype=torch.float64).view(shape)
    )


@given(
    x=numbers(-1.5, 2.5, (2, 3)),  # a value may lie beyond the range already
    most=numbers(0.25, 4, (2, 3)),
    share=numbers(0, 1, (2, 3)),
    pull=numbers(-1, 1, (2, 4, 3)),
    seed=st.integers(0, 5),
)
def test_points_are_those_of_the_plain_formula_within_the_box_and_the_range(
    x, most, share, pull, seed
):
    sampler, largest = fading(x, most, n=4, seed=seed)
    width = (share * most).requires_grad_()
    samples = sampler.sample(largest.replace(width=width[:, None]), 0.0)
    ends, boxes = samples.draws, samples.boxes
    points = boxes.points(ends)
    for row in range(2):
        for m in range(4):
            for i in range(3):
                at, end = x[row, i].item(), ends[row, m, i].item()
                wanted = at + width[row, i].item() / most[row, i].item() * (end - at)
                assert points[row, m, i].item() == pytest.approx(wanted, abs=1e-12)
                assert min(at, LOWER) <= points[row, m, i].item() <= max(at, UPPER)
    away = (points - x[:, None]).abs()
    assert (away <= width[:, None] + 1e-12).all()
    (wanted,) = torch.autograd.grad((points * pull).sum(), width)
    found = boxes.derivative(pull.sum(dim=1), (pull * ends).sum(dim=1))
    torch.testing.assert_close(found[:, 0], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "n_levels"), [((400,), 1), ((3, 10, 20), 3), ((20, 20), 1)])
def test_a_share_of_the_features_heads_for_one_level_of_each_channel(shape, n_levels):
    n, x = 10, torch.full((2, *shape), 0.5)
    x[1] = 1.0
    sampler, boxes = fading(x, torch.full_like(x, 3.0), n=n)
    same, _ = fading(x, torch.full_like(x, 3.0), n=n)
    first, second = (sampler.sample(boxes, 0.0).draws for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, same.sample(boxes, 0.0).draws)
    for ends in (first, second):
        moved = ends != x[:, None]
        # The rows share the draws: both go the same way, or stay.
        assert torch.equal(moved[0], moved[1])
        assert torch.equal(ends[0][moved[0]], ends[1][moved[1]])
        channels = ends[0].view(n, n_levels, -1)
        goes = moved[0].view(n, n_levels, -1)
        assert torch.equal(goes, goes[:, :1].expand_as(goes))
        shares = goes[:, 0].double().mean(dim=1).sort().values
        # In each tenth one, but for what five standard deviations of 200 choices are.
        tenths = torch.arange(n) / n
        assert (shares >= tenths - 0.18).all()
        assert (shares <= tenths + 0.1 + 0.18).all()
        for channel in range(n_levels):
            levels = [
                values[is_moved].unique()
                for values, is_moved in zip(channels[:, channel], goes[:, channel], strict=True)
                if is_moved.any()
            ]
            assert all(len(level) == 1 for level in levels)
            parts = ((torch.cat(levels) - LOWER) / (UPPER - LOWER) * n).floor().int().tolist()
            assert len(set(parts)) == len(parts) >= n - 1
        if n_levels > 1:
            assert not torch.equal(channels[:, 0], channels[:, 1])


def test_a_level_beyond_the_largest_width_is_headed_for_so_far():
    x = torch.full((1, 50), 0.5)
    most = torch.full_like(x, 0.25)
    sampler, boxes = fading(x, most)
    ends = sampler.sample(boxes, 0.0).draws
    assert ends.min() == 0.25
    assert ends.max() == 0.75


def test_they_see_what_moves_many_features_one_way():
    """Independent draws leave a mean of 500 features where it is."""
    x = torch.full((2, 500), 0.8)
    model = lambda x: torch.stack((40 * (x.mean(dim=1) - 0.3), 0 * x[:, 0]), dim=1)  # noqa: E731
    of = {"bounds": (0.0, 1.0), "output_type": "logits", "penalty": 10.0}
    independent = InvariantBox(sampling="uniform", **of).solve(model, x)
    assert (independent.width == 1).all()
    many = {"n_draws": 64, "n_steps": 400, "tolerance": 0}
    found = InvariantBox(sampling="fade_to_colour", **many, **of).solve(model, x).width.mean(dim=1)
    # Of so many features the mean is that of the moved share. All widths are alike.
    share, level, width = torch.meshgrid(
        (torch.arange(100) + 0.5) / 100, (torch.arange(100) + 0.5) / 100,
        torch.arange(101) / 100, indexing="ij",
    )  # fmt: skip
    kept = 40 * (0.8 + share * width * (level - 0.8) - 0.3)
    hinge = (1 - 2 * kept.sigmoid()).relu().mean(dim=(0, 1))
    objective = torch.arange(101) / 100 - 10 * hinge
    assert 70 < objective.argmax() < 80
    assert (objective[(100 * found).round().int()] > objective.max() - 0.005).all()
