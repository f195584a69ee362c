from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Generator, nn

from xai_adapters import InvariantBox
from xai_adapters.errors import InvalidInputError, NotApplicableError
from xai_adapters.model.faster_model import faster_model

QUICK = {"n_steps": 20, "n_draws": 8, "step_size": 0.1, "n_check_draws": 256, "penalty": 5.0}
CPU = torch.device("cpu")


def network():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()


IMAGES = torch.rand(2, 3, 4, 4, generator=Generator().manual_seed(1))


def test_nothing_asked_for_is_the_model_itself():
    net = network()
    assert faster_model(net, CPU) is net


def test_images_go_in_with_channels_last_and_nothing_else_does():
    seen = []

    def model(points, *row_data):
        seen.append((points.is_contiguous(memory_format=torch.channels_last), row_data))
        return points

    faster = faster_model(model, CPU, channels_last=True)
    assert torch.equal(faster(IMAGES, torch.ones(2)), IMAGES)
    assert seen[0][0]
    assert torch.equal(seen[0][1][0], torch.ones(2))
    table = torch.rand(5, 3)
    assert torch.equal(faster(table), table)


def test_products_are_in_the_short_type_and_its_model_is_not():
    net = network()
    with torch.no_grad():
        found = faster_model(net, CPU, autocast=torch.bfloat16)(IMAGES)
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


class Compiling:
    """`torch.compile` with a backend that needs no C++ compiler; keeps what it was given."""

    def __init__(self, backend="eager"):
        self.compile_with, self.backend, self.given = torch.compile, backend, []

    def __call__(self, model, *, mode):
        self.given.append((model, mode))
        return self.compile_with(model, backend=self.backend)


@pytest.fixture
def compiling(monkeypatch):
    compiling = Compiling()
    monkeypatch.setattr(torch, "compile", compiling)
    yield compiling
    torch._dynamo.reset()


@pytest.mark.parametrize("settings", [{}, {"channels_last": True}])
def test_a_compiled_model_gives_the_same_box(compiling, settings):
    net = network()
    compiled = InvariantBox(**QUICK, compiled=True, **settings).solve(net, IMAGES)
    assert compiling.given == [(net, None)]
    plain = InvariantBox(**QUICK, **settings).solve(net, IMAGES)
    assert torch.equal(compiled.width, plain.width)
    assert not isinstance(net, torch._dynamo.eval_frame.OptimizedModule)


class Replaying:
    """A network that, like a graph's replay, writes its outputs over those of its last call."""

    def __init__(self, net):
        self.net, self.buffers = net, {}

    def __call__(self, points):
        outputs = self.net(points)
        if not torch.is_grad_enabled():
            buffer = self.buffers.setdefault(len(points), torch.empty_like(outputs))
            return buffer.copy_(outputs)
        return outputs


def test_outputs_of_a_graph_are_kept_before_its_next_replay(monkeypatch):
    net, rows, modes = nn.Linear(1, 2), torch.tensor([[1.0], [-1.0]]), []
    net.weight.data, net.bias.data = torch.tensor([[1.0], [-1.0]]), torch.zeros(2)

    def replaying(model, *, mode):
        modes.append(mode)
        return Replaying(model)

    monkeypatch.setattr(torch, "compile", replaying)
    monkeypatch.setattr(torch.cpu, "CUDAGraph", object, raising=False)
    # Rows one by one, whose outputs are put together.
    one_by_one = partial(InvariantBox, **QUICK, internal_batch_size=1)
    replayed = one_by_one(compiled="reduce-overhead").solve(net, rows)
    assert modes == ["reduce-overhead"]
    assert replayed.target.tolist() == [0, 1]
    assert torch.equal(replayed.width, one_by_one().solve(net, rows).width)


def test_a_device_without_graphs_is_named():
    with pytest.raises(NotApplicableError, match="the rows are on 'cpu'; compiled=True works"):
        InvariantBox(compiled="reduce-overhead").solve(network(), IMAGES)


def test_a_model_that_cannot_be_compiled_is_named(compiling):
    def broken(graph, inputs):
        raise OSError("no compiler is installed")

    compiling.backend = broken
    with pytest.raises(NotApplicableError, match=r"(?s)cannot be compiled for 'cpu'.*no compiler"):
        InvariantBox(compiled=True).solve(network(), IMAGES)


def test_settings_that_mean_nothing_are_named():
    with pytest.raises(InvalidInputError, match="compiled must be True, False or 'reduce-over"):
        InvariantBox(compiled="max-speed")
