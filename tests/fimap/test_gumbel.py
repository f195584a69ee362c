from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from xai_adapters.fimap.gumbel import OWN_CATEGORY, PartialGumbel

SEEDS = st.integers(0, 2**31)
GROUP_SIZES = st.lists(st.integers(1, 4), max_size=3)
TEMPERATURES = st.sampled_from([0.3, 0.7, 1.0, 2.5])
N_ROWS = 4
LAYERS = st.builds(PartialGumbel, st.integers(0, 3), GROUP_SIZES)


def encoded_rows(layer, seed):
    """Encoded rows: any numbers, and one-hot groups."""
    generator = Generator().manual_seed(seed)
    parts = [torch.randn(N_ROWS, layer.n_continuous, generator=generator)]
    for size in layer.group_sizes:
        parts.append(torch.eye(size)[torch.randint(size, (N_ROWS,), generator=generator)])
    return torch.cat(parts, dim=1)


def perturber_outputs(layer, seed):
    shape = (N_ROWS, layer.n_continuous + sum(layer.group_sizes))
    return 2 * torch.randn(shape, generator=Generator().manual_seed(seed + 1))


def open_choices(layer, rows, seed):
    """Each row's own category, and others with a chance of one half."""
    own = rows[:, layer.n_continuous :] == 1
    return own | (torch.rand(own.shape, generator=Generator().manual_seed(seed + 2)) < 0.5)


def parts_of(layer, row):
    """The groups of one row, as lists."""
    position = layer.n_continuous
    for size in layer.group_sizes:
        yield row[position : position + size]
        position += size


def plain_sample(log_probabilities, uniform, choices, temperature):
    """Equation 4 for one group of one row; what may not be chosen has no probability."""
    weights = [
        math.exp((value - math.log(-math.log(u))) / temperature) if may else 0.0
        for value, u, may in zip(log_probabilities, uniform, choices, strict=True)
    ]
    return [weight / sum(weights) for weight in weights]


def plain_change(group, other):
    """Equation 5 for one group of one row, without its eta."""
    return 0.5 * sum(abs(x - p) for x, p in zip(group, other, strict=True))


def uniform_draws(layer, seed):
    drawn = torch.rand(N_ROWS, sum(layer.group_sizes), generator=Generator().manual_seed(seed))
    return torch.cat((torch.zeros(N_ROWS, layer.n_continuous), drawn.double()), dim=1)


@given(LAYERS, SEEDS, TEMPERATURES, st.booleans())
def test_samples_are_those_of_equation_4(layer, seed, temperature, straight_through):
    rows, outputs = encoded_rows(layer, seed), perturber_outputs(layer, seed)
    choices = open_choices(layer, rows, seed)
    generator = Generator().manual_seed(seed)
    draw = layer.sample if straight_through else layer.relaxed_sample
    found = draw(outputs, choices, temperature, generator)
    assert found.shape == outputs.shape
    assert torch.equal(found[:, : layer.n_continuous], outputs[:, : layer.n_continuous])
    may = torch.cat((outputs[:, : layer.n_continuous] > 0, choices), dim=1)
    uniform = uniform_draws(layer, seed)
    for at in range(N_ROWS):
        each = (parts_of(layer, t[at].tolist()) for t in (outputs, uniform, may, found))
        for log_probabilities, u, may_be, drawn in zip(*each, strict=True):
            wanted = plain_sample(log_probabilities, u, may_be, temperature)
            if straight_through:
                wanted = [float(weight == max(wanted)) for weight in wanted]
                assert drawn == wanted
            assert drawn == pytest.approx(wanted, abs=1e-4)


@given(LAYERS, SEEDS, TEMPERATURES)
def test_changes_are_those_of_equation_5(layer, seed, temperature):
    rows, others = encoded_rows(layer, seed), encoded_rows(layer, seed + 1)
    everywhere = torch.ones(N_ROWS, sum(layer.group_sizes), dtype=torch.bool)
    generator = Generator().manual_seed(seed)
    relaxed = layer.relaxed_sample(others, everywhere, temperature, generator)
    for after in (others, relaxed, rows):
        found = layer.changed(rows, after)
        assert found.shape == (N_ROWS, len(layer.group_sizes))
        for row, other, sums in zip(rows.tolist(), after.tolist(), found.tolist(), strict=True):
            pairs = zip(parts_of(layer, row), parts_of(layer, other), strict=True)
            assert sums == pytest.approx([plain_change(*pair) for pair in pairs], abs=1e-5)
    # Whole categories are counted without rounding.
    assert not layer.changed(rows, rows).any()
    assert set(layer.changed(rows, others).flatten().tolist()) <= {0.0, 1.0}


@given(LAYERS, SEEDS)
def test_a_proposal_moves_numbers_and_favours_the_own_category(layer, seed):
    rows, outputs = encoded_rows(layer, seed), perturber_outputs(layer, seed)
    found = layer.proposal(rows, outputs).tolist()
    for row, output, proposed in zip(rows.tolist(), outputs.tolist(), found, strict=True):
        for at, (x, o, p) in enumerate(zip(row, output, proposed, strict=True)):
            assert p == pytest.approx(o + (x if at < layer.n_continuous else OWN_CATEGORY * x))


@given(LAYERS, SEEDS, TEMPERATURES)
def test_hard_samples_have_the_gradient_of_relaxed_ones(layer, seed, temperature):
    rows, outputs = encoded_rows(layer, seed), perturber_outputs(layer, seed).requires_grad_()
    choices = open_choices(layer, rows, seed)
    weights = torch.randn(outputs.shape, generator=Generator().manual_seed(seed + 3))
    gradients = []
    for draw in (layer.sample, layer.relaxed_sample):
        drawn = draw(outputs, choices, temperature, Generator().manual_seed(seed))
        gradients.append(torch.autograd.grad((drawn * weights).sum(), outputs)[0])
        groups = list(drawn[:, layer.n_continuous :].split(layer.group_sizes, dim=1))
        for group in groups:
            torch.testing.assert_close(group.sum(dim=1), torch.ones(N_ROWS))
            assert draw != layer.sample or set(group.flatten().tolist()) <= {0.0, 1.0}
        # Neither drawn nor learned from.
        assert not drawn[:, layer.n_continuous :][~choices].any()
        assert not gradients[-1][:, layer.n_continuous :][~choices].any()
    assert gradients[0].isfinite().all()
    assert torch.equal(*gradients)


def test_a_forbidden_category_is_not_drawn_however_likely():
    layer = PartialGumbel(0, [3])
    scores = torch.tensor([[50.0, 0.0, 0.0]]).repeat(500, 1).requires_grad_()
    choices = torch.tensor([[False, True, True]]).expand(500, 3)
    drawn = layer.sample(scores, choices, 0.5, Generator().manual_seed(0))
    assert not drawn[:, 0].any()
    assert 150 < drawn[:, 1].sum() < 350
    drawn[:, 1].sum().backward()
    assert not scores.grad[:, 0].any()
    assert scores.grad[:, 1].mean() > 0.05


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_hard_samples_come_as_often_as_their_probability_says(temperature):
    n = 20_000
    log_probabilities = torch.tensor([1.5, 0.0, -2.0, 0.3])
    layer = PartialGumbel(1, [4, 2])
    outputs = torch.cat((torch.zeros(1), log_probabilities, torch.tensor([0.0, 3.0])))
    choices = torch.ones(n, 6, dtype=torch.bool)
    drawn = layer.sample(outputs.expand(n, 7), choices, temperature, Generator().manual_seed(0))
    wanted = torch.cat((log_probabilities.softmax(0), torch.tensor([0.0, 3.0]).softmax(0)))
    deviation = (wanted * (1 - wanted) / n).sqrt()
    frequency = drawn[:, 1:].mean(dim=0)
    assert ((frequency - wanted).abs() < 5 * deviation).all(), (frequency, wanted)
    # One group's draws say nothing about the other's.
    both = (drawn[:, 1] * drawn[:, 6]).mean()
    assert (both - wanted[0] * wanted[5]).abs() < 5 * (both * (1 - both) / n).sqrt()


def test_the_lower_the_temperature_the_nearer_to_one_hot():
    layer = PartialGumbel(0, [3])
    outputs = torch.randn(1000, 3, generator=Generator().manual_seed(1))
    choices = torch.ones_like(outputs, dtype=torch.bool)

    def sample(draw, temperature):
        return draw(outputs, choices, temperature, Generator().manual_seed(0))

    temperatures = (10.0, 1.0, 0.3, 0.1, 1e-3)
    largest = [sample(layer.relaxed_sample, each).amax(dim=1) for each in temperatures]
    for warmer, colder in pairwise(largest):
        assert (colder >= warmer - 1e-6).all()
    assert largest[0].mean() < 0.45
    cold, hard = sample(layer.relaxed_sample, 1e-3), sample(layer.sample, 1.0)
    assert (cold - hard).abs().amax(dim=1).lt(1e-3).double().mean() > 0.98


def test_without_groups_everything_passes_through_and_nothing_is_drawn():
    layer = PartialGumbel(2, [])
    rows, outputs = torch.randn(2, 3, 2, generator=Generator().manual_seed(0))
    generator = Generator().manual_seed(0)
    proposal = layer.proposal(rows, outputs)
    assert torch.equal(proposal, rows + outputs)
    nothing = torch.ones(3, 0, dtype=torch.bool)
    assert torch.equal(layer.sample(proposal, nothing, 1.0, generator), proposal)
    assert torch.equal(generator.get_state(), Generator().manual_seed(0).get_state())
    assert layer.changed(rows, outputs).shape == (3, 0)
