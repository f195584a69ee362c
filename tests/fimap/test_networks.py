from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from xai_adapters.fimap.networks import Perturber, SeededDropout, Surrogate

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@given(st.integers(0, 255), st.integers(0, 3))
def test_dropout_keeps_its_share_and_scales_it_up(n_dropped, seed):
    probability = n_dropped / 256
    outputs = SeededDropout(probability, seeded(seed)).mask(200, 100)
    kept = outputs != 0
    # Five standard deviations of a share of 20,000 draws.
    allowed = 5 * (probability * (1 - probability) / 20_000) ** 0.5
    assert abs(kept.double().mean().item() - (1 - probability)) <= allowed
    assert torch.equal(outputs[kept], torch.full_like(outputs[kept], 256 / (256 - n_dropped)))


def test_dropout_follows_its_generator_and_draws_anew_each_time():
    dropout, again = SeededDropout(0.5, seeded(3)), SeededDropout(0.5, seeded(3))
    first = dropout.mask(7, 5)
    assert torch.equal(first, again.mask(7, 5))
    assert not torch.equal(first, dropout.mask(7, 5))
    assert not torch.equal(first, SeededDropout(0.5, seeded(4)).mask(7, 5))


def test_units_are_dropped_while_training_and_not_after():
    net = Surrogate(3, 2, (50, 40), 0.9, seeded(), CPU)
    rows = torch.randn(7, 3, generator=seeded(1))
    assert not torch.equal(net(rows), net(rows))
    plain = rows
    for layer in net.layers[:-1]:
        plain = (plain @ layer.weight.T + layer.bias).clamp(min=0)
    plain = plain @ net.layers[-1].weight.T + net.layers[-1].bias
    assert torch.allclose(net.eval()(rows), plain, atol=1e-6)


@pytest.mark.parametrize("make", [Surrogate, Perturber])
def test_networks_draw_from_their_generator_alone(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    nets = [make(3, 2, (5, 4), 0.5, seeded(seed), CPU) for seed in (0, 0, 1)]
    rows, target = torch.ones(6, 3), torch.zeros(6, dtype=torch.int64)
    arguments = (rows,) if make is Surrogate else (rows, target)
    one, same, other = (net(*arguments) for net in nets)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_weights_are_drawn_as_torchs_own_layers_draw_them():
    (first, second) = (layer for layer in Surrogate(4, 3, (400,), 0.0, seeded(), CPU).layers)
    for layer, n_inputs in ((first, 4), (second, 400)):
        largest = layer.weight.detach().abs().max().item()
        assert 0.98 * n_inputs**-0.5 < largest <= n_inputs**-0.5


def test_a_frozen_network_is_plain_layers_without_gradients():
    net = Perturber(3, 2, (5,), 0.5, seeded(), CPU)
    net.freeze()
    rows, target = torch.ones(1, 3).expand(50, 3), torch.ones(50, dtype=torch.int64)
    outputs = net(rows, target)
    assert not outputs.requires_grad
    assert torch.equal(outputs, outputs[:1].expand_as(outputs))
    assert net.dropout is None


def test_the_perturber_is_told_its_target():
    net = Perturber(3, 4, (8,), 0.0, seeded(), CPU)
    rows = torch.zeros(4, 3)
    answers = net(rows, torch.arange(4))
    assert len({tuple(answer.tolist()) for answer in answers}) == 4
