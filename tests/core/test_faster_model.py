from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from xai_adapters import InvariantBox
from xai_adapters.core.faster_model import faster_model

QUICK = {"n_steps": 20, "n_draws": 8, "step_size": 0.1, "n_check_draws": 256, "penalty": 5.0}


def network():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()


IMAGES = torch.rand(2, 3, 4, 4, generator=Generator().manual_seed(1))


def test_nothing_asked_for_is_the_model_itself():
    net = network()
    assert faster_model(net) is net


def test_images_go_in_with_channels_last_and_nothing_else_does():
    seen = []

    def model(points, *row_data):
        seen.append((points.is_contiguous(memory_format=torch.channels_last), row_data))
        return points

    faster = faster_model(model, channels_last=True)
    assert torch.equal(faster(IMAGES, torch.ones(2)), IMAGES)
    assert seen[0][0]
    assert torch.equal(seen[0][1][0], torch.ones(2))
    table = torch.rand(5, 3)
    assert torch.equal(faster(table), table)


def test_products_are_in_the_short_type_and_its_model_is_not():
    net = network()
    with torch.no_grad():
        found = faster_model(net, autocast=torch.bfloat16)(IMAGES)
        assert found.dtype == torch.bfloat16
        assert torch.allclose(found.float(), net(IMAGES), atol=0.02)
    assert all(weight.dtype == torch.float32 for weight in net.parameters())


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [({"channels_last": True}, 1e-4), ({"autocast": torch.bfloat16}, 0.1)],
)
def test_boxes_are_as_without(settings, tolerance):
    net = network()
    plain = InvariantBox(**QUICK).solve(net, IMAGES)
    faster = InvariantBox(**QUICK, **settings).solve(net, IMAGES)
    assert faster.width.dtype == torch.float32
    assert torch.equal(faster.target, plain.target)
    assert (faster.width - plain.width).abs().mean() < tolerance
    assert 0 < plain.width.mean() < 1


def test_a_compiled_model_gives_the_same_box(monkeypatch):
    net, compile_with, handed = network(), torch.compile, []

    def compile_eagerly(model):
        handed.append(model)
        return compile_with(model, backend="eager")

    # The default backend needs a C++ compiler.
    monkeypatch.setattr(torch, "compile", compile_eagerly)
    compiled = InvariantBox(**QUICK, compiled=True).solve(net, IMAGES)
    assert handed == [net]
    assert torch.equal(compiled.width, InvariantBox(**QUICK).solve(net, IMAGES).width)
