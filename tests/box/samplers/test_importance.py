from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_matrices import matrices
from torch import Generator

from xai_adapters import InvariantBox
from xai_adapters.box.expected_hinge import Samples, estimate
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers import SAMPLERS
from xai_adapters.box.samplers.importance import ImportanceSampler
from xai_adapters.box.samplers.random_numbers import uniform_numbers
from xai_adapters.box.shapes import empty_boxes
from xai_adapters.errors import PredictorError
from xai_adapters.model.decision import Decision

N_FEATURES = 3
OFFSET = torch.tensor([0.5, 0.25, 0.0, 0.125], dtype=torch.float64)
WEIGHTS = matrices(N_FEATURES, 4)
ROWS = matrices(2, N_FEATURES)


def importance(model, rows, n, *, width=None, seed=0):
    decision = Decision(model, rows, output_type="logits")
    largest = Boxes(torch.arange(len(rows)), rows, torch.ones_like(rows)[:, None])
    largest = largest if width is None else largest.replace(width=width)
    return ImportanceSampler(Hinge(decision), largest, n, seed), decision


def step(sampler, hinge, boxes, done=1.0):
    """What a step of a search sees, and makes of it."""
    seen = estimate(hinge, sampler.sample(boxes, done), learn=sampler.learn)
    return seen, seen.derivative * sampler.caution


def drawn(sampler, boxes):
    samples = sampler.sample(boxes, 0.0)
    return samples.draws, samples.weight


def boxes_at_0(width):
    return Boxes(torch.arange(1), torch.zeros(1, 2), width)


def plain_draw(u, a):
    """The u-quantile of the density a exp(a t) / (exp(a) - 1) on [0, 1], and that density there."""
    t = math.log(1 + u * (math.exp(a) - 1)) / a
    return t, a * math.exp(a * t) / (math.exp(a) - 1)


@settings(max_examples=20)
@given(WEIGHTS, ROWS, st.integers(1, 11), st.integers(0, 3))
def test_draws_and_weights_are_those_of_the_mixture_written_plainly(weights, rows, n, seed):
    width = torch.tensor([[[0.5, 1.0, 2.0]], [[1.0, 0.25, 1.0]]], dtype=torch.float64)
    sampler, decision = importance(lambda x: x @ weights + OFFSET, rows, n, width=width, seed=seed)
    found, weight = drawn(sampler, Boxes(torch.arange(2), rows, width))
    shared = torch.empty(n, N_FEATURES, dtype=torch.float64)
    generator = Generator().manual_seed(seed)
    # The first tells where beside the rows the slopes are taken, which are the same anywhere.
    torch.empty(N_FEATURES, dtype=torch.float64).uniform_(generator=generator)
    shared.uniform_(generator=generator)
    for row in range(2):
        c = int(decision.target[row])
        rivals = sorted((j for j in range(4) if j != c), key=lambda j: -decision.outputs[row, j])
        tilts = []
        for j in rivals:
            slope = [float((weights[i, j] - weights[i, c]) * width[row, 0, i]) for i in range(3)]
            length = math.hypot(*slope) or 1.0
            # So many standard deviations of sum_i slope_i u_i.
            tilt = [1.7 * math.sqrt(12) * s / length for s in slope]
            tilts.append([a if abs(a) > 2**-20 else 2**-20 for a in tilt])
        parts = [(0, 1, 2, 3, 1, 2, 3, 1)[m % 8] for m in range(n)]
        for m, part in enumerate(parts):
            wanted = list(shared[m].tolist())
            if part:
                wanted = [plain_draw(u, a)[0] for u, a in zip(wanted, tilts[part - 1], strict=True)]
            assert found[row, m].tolist() == pytest.approx(wanted, abs=1e-6)
            mixed = 0.0
            for other in parts:
                of = 1.0
                if other:
                    for t, a in zip(found[row, m].tolist(), tilts[other - 1], strict=True):
                        of *= a * math.exp(a * t) / (math.exp(a) - 1)
                mixed += of
            assert weight[row, m].item() == pytest.approx(1 / mixed, rel=1e-6)


@pytest.mark.parametrize("shape", ["symmetric", "asymmetric", "directed", "masked"])
def test_weighted_means_are_those_of_uniform_draws(shape):
    generator = Generator().manual_seed(1)
    first = torch.randn(6, 8, generator=generator)
    second = torch.randn(8, 3, generator=generator)
    rows = torch.randn(3, 6, generator=generator)
    decision = Decision(lambda x: (x @ first).relu() @ second, rows, output_type="logits")
    baseline = None if shape in ("symmetric", "asymmetric") else -0.5
    empty, hinge = empty_boxes(shape, rows, (-1.5, 1.5), baseline), Hinge(decision)
    boxes = empty.replace(width=torch.full((3, empty.n_sides, 6), 0.5))
    sampler = ImportanceSampler(hinge, boxes, 64, seed=0)
    hinges, slopes = [], []
    for _ in range(400):
        found, _ = step(sampler, hinge, boxes)
        hinges.append(found.hinge)
        slopes.append(found.derivative)
    wanted = estimate(hinge, Samples(boxes, uniform_numbers(rows, 3)(200_000, 6)))
    assert (wanted.hinge > 1e-3).any()
    for seen, expected in ((hinges, wanted.hinge), (slopes, wanted.derivative)):
        many = torch.stack(seen)
        # Five standard errors, and what the uniform draws miss themselves.
        error = 5 * many.std(dim=0) / len(many) ** 0.5 + 2e-3
        assert ((many.mean(dim=0) - expected).abs() < error).all()


def test_they_tell_more_of_a_box_that_hardly_leaves_the_class():
    x = torch.full((1, 20), 0.5)
    decision = Decision(lambda x: torch.stack((x.sum(dim=1), 0 * x[:, 0]), dim=1), x)
    boxes = Boxes(torch.arange(1), x, torch.full((1, 1, 20), 1.6))
    spread, hinge = {}, Hinge(decision)
    for name in ("uniform", "importance"):
        sampler = SAMPLERS[name](hinge, boxes, 32, seed=0)
        slopes = [step(sampler, hinge, boxes)[1] for _ in range(200)]
        spread[name] = torch.stack(slopes).var(dim=0).mean().item()
    assert spread["importance"] < spread["uniform"] / 3


@pytest.mark.parametrize("shape", ["symmetric", "asymmetric", "directed"])
def test_smoothed_slopes_of_a_linear_hinge_have_the_same_mean_with_less_noise(shape):
    generator = Generator().manual_seed(0)
    slopes, x = torch.randn(40, generator=generator), torch.zeros(1, 40)
    decision = Decision(
        lambda x: torch.stack((0 * x[:, 0] + 6, x @ slopes), dim=1), x, output_type="logits"
    )
    empty = empty_boxes(shape, x, None, slopes.sign() if shape == "directed" else None)
    width = torch.full((1, empty.n_sides, 40), 0.3 if shape == "directed" else 1.0)
    boxes, hinge = empty.replace(width=width), Hinge(decision, on="logits")
    means, spreads = [], []
    for done in (1.0, 0.0):
        sampler = ImportanceSampler(hinge, boxes, 64, seed=0)
        seen = torch.stack([step(sampler, hinge, boxes, done)[1] for _ in range(1000)])
        means.append(seen.mean(dim=0))
        spreads.append(seen.std(dim=0))
    error = 5 * (spreads[0] ** 2 + spreads[1] ** 2).sqrt() / 1000**0.5
    assert (means[0] > 3 * error).any()
    assert ((means[0] - means[1]).abs() < error).all()
    # Ends of their own move with a draw's centre too, which stays.
    most = 0.5 if shape == "symmetric" else 0.9
    assert spreads[1].square().mean() < most * spreads[0].square().mean()


@pytest.mark.parametrize("n", [8, 24, 240])
def test_steps_are_the_more_cautious_the_fewer_the_draws(n):
    boxes = boxes_at_0(torch.full((1, 1, 2), 0.8))
    decision = Decision(lambda x: torch.stack((0 * x[:, 0], x.sum(dim=1) - 0.5), dim=1), boxes.x)
    hinge = Hinge(decision)
    one, same = (ImportanceSampler(hinge, boxes, n, seed=0) for _ in range(2))
    _, seen = step(one, hinge, boxes, done=0.25)
    draws, weight = drawn(same, boxes)
    slope = estimate(hinge, Samples(boxes, draws, weight, smoothing=0.75)).derivative
    assert (slope != 0).all()
    assert torch.allclose(seen, slope * (1 + 6 / n))


@pytest.mark.parametrize("rise", [0.0, 0.1])
def test_they_turn_towards_what_left_the_class(rise):
    # At the row feature 1 is flat; the class is lost where it is large.
    def model(x):
        return torch.stack((1 + rise * x[:, 0], 5 * (x[:, 1] - 0.5).relu()), dim=1)

    sampler, decision = importance(model, torch.zeros(1, 2), 40)
    boxes = boxes_at_0(torch.ones(1, 1, 2))
    before = drawn(sampler, boxes)[0][0, sampler.part == 1].mean(dim=0)
    for _ in range(40):
        step(sampler, Hinge(decision), boxes, done=0.0)
    after = drawn(sampler, boxes)[0][0, sampler.part == 1].mean(dim=0)
    assert before[1] == pytest.approx(0.5, abs=0.25)
    assert after[1] > 0.75


@pytest.mark.parametrize("same", [lambda z: z, lambda z: z.relu() - (-z).relu()])
def test_on_a_kink_they_lean_as_where_there_is_none(same):
    sampler, _ = importance(lambda x: torch.stack((1 + 0 * x[:, 0], same(x[:, 0])), dim=1),
                     torch.zeros(1, 2), 80)  # fmt: skip
    leaning, _ = drawn(sampler, boxes_at_0(torch.ones(1, 1, 2)))
    assert leaning.mean(dim=1)[0, 0] > 0.7


def test_a_box_without_a_width_forgets_no_direction():
    sampler, _ = importance(lambda x: torch.stack((1 + 0 * x[:, 0], x[:, 0]), dim=1),
                     torch.zeros(1, 2), 80)  # fmt: skip
    for width in 10 * [0.0] + 10 * [1.0]:
        leaning, _ = drawn(sampler, boxes_at_0(torch.full((1, 1, 2), width)))
    assert leaning.mean(dim=1)[0, 0] > 0.7


def test_they_lean_as_the_box_is_wide():
    sampler, _ = importance(lambda x: torch.stack((1 + 0 * x[:, 0], x.sum(dim=1)), dim=1),
                     torch.zeros(1, 2), 80)  # fmt: skip
    for share in (0.0, 1.0, 0.0):
        for _ in range(10):
            leaning, _ = drawn(sampler, boxes_at_0(torch.tensor([[[share, 1 - share]]])))
        wide, narrow = leaning.mean(dim=1)[0].roll(int(1 - share))
        assert wide > 0.7
        assert narrow == pytest.approx(0.5, abs=0.1)


def test_a_gradient_that_is_not_finite_leaves_the_draws_uniform():
    def model(x):
        return torch.stack(((0 * x[:, 0]).sqrt() + 0.5, 0 * x[:, 0]), dim=1)

    sampler, _ = importance(model, torch.zeros(1, 2), 8)
    draws, weight = drawn(sampler, boxes_at_0(torch.ones(1, 1, 2)))
    assert draws.isfinite().all()
    torch.testing.assert_close(weight, torch.full((1, 8), 1 / 8))


def test_a_model_without_a_gradient_is_named():
    with pytest.raises(PredictorError, match="no gradient with respect to the rows"):
        importance(
            lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1).detach(), torch.ones(1, 2), 4
        )


def test_a_box_of_one_draw_is_found_too():
    rows = torch.tensor([[0.5, 0.5]])
    box = InvariantBox(n_draws=1).solve(lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1), rows)
    assert box.width[0, 0] < box.width[0, 1]
