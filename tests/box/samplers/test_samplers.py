from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers import SAMPLERS, SamplingName
from xai_adapters.box.shapes import ShapeName
from xai_adapters.model.decision import Decision

# Those whose draws the rows share, or start from.
SHARED = ["uniform", "masked_fraction", "adversarial"]


def sampler(name, n, like, seed):
    boxes = Boxes(torch.arange(len(like)), like, torch.ones_like(like)[:, None])
    model = lambda x: torch.stack((0 * x.flatten(1)[:, 0] + 1, x.flatten(1)[:, 0]), 1)  # noqa: E731
    return SAMPLERS[name](Hinge(Decision(model, like)), boxes, n, seed), boxes


def draw(name, n, like, seed):
    """A function that gives the draws (n, ...) of the first row, with new ones in each call."""
    found, boxes = sampler(name, n, like, seed)

    def draws():
        samples = found.sample(boxes, 0.0)
        return samples.draws if samples.are_shared else samples.draws[0]

    return draws


def test_every_sampler_states_its_name_and_facts():
    assert tuple(SAMPLERS) == get_args(SamplingName)
    for name, kind in SAMPLERS.items():
        assert kind.name == name
        assert set(kind.shapes) <= set(get_args(ShapeName))
    assert [name for name, kind in SAMPLERS.items() if kind.needs_bounds] == ["fade_to_colour"]
    assert [name for name, kind in SAMPLERS.items() if kind.covers_box] == ["uniform", "importance"]
    masked = [name for name, kind in SAMPLERS.items() if "masked" in kind.shapes]
    assert masked == ["uniform", "importance"]


def test_the_caution_belongs_to_the_step():
    like = torch.zeros(1, 2)
    assert {name: sampler(name, 24, like, 0)[0].caution for name in SHARED} == dict.fromkeys(
        SHARED, 1.0
    )
    assert sampler("importance", 24, like, 0)[0].caution == 1.25


@pytest.mark.parametrize("name", SHARED)
@given(
    n=st.integers(1, 9),
    shape=st.sampled_from([(1,), (3,), (2, 2, 2)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 3),
)
def test_draws_lie_in_the_unit_box_and_are_those_of_their_seed(name, n, shape, dtype, seed):
    before = torch.get_rng_state()
    like = torch.zeros(2, *shape, dtype=dtype)
    one, same = (draw(name, n, like, seed) for _ in range(2))
    found = [one(), one()]
    assert torch.equal(torch.get_rng_state(), before)
    for draws in found:
        assert draws.shape == (n, *shape)
        assert draws.dtype == dtype
        assert ((draws >= 0) & (draws <= 1)).all()
        if name != "uniform":
            assert ((draws == 0) | (draws == 1)).all()
        assert torch.equal(draws, same())


@pytest.mark.parametrize("name", SHARED)
def test_draws_are_new_each_time_and_even(name):
    like = torch.zeros(1, 4)
    if name == "adversarial":  # New at the start of a search only.
        many = torch.stack([draw(name, 16, like, seed)() for seed in range(400)])
    else:
        new = draw(name, 16, like, seed=1)
        many = torch.stack([new() for _ in range(400)])
    assert not torch.equal(many[0], many[1])
    # Five standard deviations of a mean of 6,400 numbers that are 0 or 1 at the widest.
    assert (many.mean(dim=(0, 1)) - 0.5).abs().max() < 5 * 0.5 / 80
    # No two features go together, but where a draw's fraction says that all do.
    together = torch.corrcoef(many.flatten(0, 1).T)[~torch.eye(4, dtype=bool)]
    wanted = 1 / 3 if name == "masked_fraction" else 0
    assert together.tolist() == pytest.approx([wanted] * 12, abs=0.07)


@pytest.mark.parametrize("shape", [(1000,), (10, 100), (3, 20, 50), (2, 10, 10, 10)])
def test_masked_fractions_reach_from_none_to_all_of_the_features(shape):
    masks = draw("masked_fraction", 10, torch.zeros(1, *shape), seed=0)()
    fractions = masks.flatten(1).mean(dim=1).sort().values
    assert fractions.tolist() == pytest.approx([(i + 0.5) / 10 for i in range(10)], abs=0.05 + 0.06)
    # An image's pixels go with all their channels.
    assert torch.equal(masks, masks[:, :1].expand_as(masks)) is (len(shape) > 2)
