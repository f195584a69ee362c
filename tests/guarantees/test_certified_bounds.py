from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from xai_adapters.errors import BoxWarning, InvalidInputError, NotApplicableError
from xai_adapters.guarantees import Certifier, attack_box, certified_scale, scaled_box

METHODS = ("ibp", "crown-ibp", "crown")
SIDE = 6


class Residual(nn.Module):
    """A block with a branch and a way around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = self.conv(torch.relu(x))
        out += x
        return nn.functional.relu(out)


class SideBySide(nn.Module):
    """Two branches whose channels are put side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(channels, 2, 1), nn.MaxPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x).relu(), self.other(x)], dim=1)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def norm(channels: int, generator: Generator, n_dims: int = 2) -> nn.Module:
    made = (nn.BatchNorm2d if n_dims == 2 else nn.BatchNorm1d)(channels)
    for values, low, high in (
        (made.running_mean, -1, 1),
        (made.running_var, 0.2, 2),
        (made.weight.data, -2, 2),
        (made.bias.data, -1, 1),
    ):
        values.uniform_(low, high, generator=generator)
    return made


LAYERS_OF_PLANES = {
    "conv": lambda c, g: (nn.Conv2d(c, 3, 3, padding=1), 3),
    "strided": lambda c, g: (nn.Conv2d(c, 4, 2, stride=2, bias=False), 4),
    "same": lambda c, g: (nn.Conv2d(c, 2 * c, 2, padding="same", groups=c, dilation=2), 2 * c),
    "relu": lambda c, g: (nn.ReLU(), c),
    "max": lambda c, g: (nn.MaxPool2d(2, ceil_mode=True), c),
    "padded max": lambda c, g: (nn.MaxPool2d(3, 2, 1), c),
    "average": lambda c, g: (nn.AvgPool2d(2, 1, 1, count_include_pad=False), c),
    "norm": lambda c, g: (norm(c, g), c),
    "residual": lambda c, g: (Residual(c), c),
    "side by side": lambda c, g: (SideBySide(c), c + 2),
    "dropout": lambda c, g: (nn.Sequential(nn.Dropout(), nn.Identity()), c),
}
ENDS = {
    "flatten": nn.Flatten,
    "pooled": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "mean": Mean,
}


@st.composite
def planes(draw, dtype=None):
    """A network of small planes."""
    generator = Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = dtype or draw(st.sampled_from([torch.float32, torch.float64]))
    names = draw(st.lists(st.sampled_from(sorted(LAYERS_OF_PLANES)), min_size=1, max_size=4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 1000)))
        layers, channels = [], draw(st.integers(1, 2))
        shape = (channels, SIDE, SIDE)
        plane = torch.zeros(1, *shape)
        for name in names:
            if name == "strided" and plane.shape[-1] < 2:
                continue  # its kernel is larger
            layer, channels = LAYERS_OF_PLANES[name](channels, generator)
            layers.append(layer)
            plane = layer.eval()(plane)
        body = nn.Sequential(*layers, ENDS[draw(st.sampled_from(sorted(ENDS)))]())
        width = body.eval()(torch.zeros(1, *shape)).shape[1]
        network = nn.Sequential(body, nn.Linear(width, draw(st.integers(1, 3))))
    return network.to(dtype), shape, dtype


@st.composite
def perceptrons(draw, dtype=None):
    """A fully connected network."""
    generator = Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = dtype or draw(st.sampled_from([torch.float32, torch.float64]))
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 1000)))
        layers = []
        for low, high in itertools.pairwise(sizes):
            layers += [nn.Linear(low, high), nn.ReLU()]
            if draw(st.booleans()):
                layers.append(norm(high, generator, 1))
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], draw(st.integers(1, 3))))
    return network.to(dtype), (sizes[0],), dtype


@st.composite
def problems(draw, networks=None):
    """A network in train mode, rows, and boxes around them."""
    network, shape, dtype = draw(networks or st.one_of(planes(), perceptrons()))
    generator = Generator().manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(draw(st.integers(1, 3)), *shape, generator=generator).to(dtype)
    reach = draw(st.sampled_from([0.0, 1e-3, 0.03, 0.3]))
    lower = x - reach * torch.rand(x.shape, generator=generator).to(dtype)
    upper = x + reach * torch.rand(x.shape, generator=generator).to(dtype)
    return network, x, lower, upper


def margins(network: nn.Module, points: Tensor, target: int) -> Tensor:
    """Margins (m,) at points (m, ...), as the network computes them, exact in float64."""
    logits = network.eval()(points).detach().double()
    if logits.shape[1] == 1:
        return (2 * target - 1) * logits[:, 0]
    others = [logits[:, j] for j in range(logits.shape[1]) if j != target]
    return logits[:, target] - torch.stack(others).amax(dim=0)


def points_of(low: Tensor, high: Tensor, seed: int = 0) -> Tensor:
    """Points of one box: uniform ones, corners, and its two ends."""
    t = torch.rand(200, *low.shape, generator=Generator().manual_seed(seed)).to(low)
    t[50:150].round_()
    t[-2], t[-1] = 0, 1
    return torch.minimum(torch.maximum(low + t * (high - low), low), high)


@settings(max_examples=30)
@given(problems(), st.sampled_from(METHODS))
def test_no_point_of_a_box_is_below_its_bound(problem, method):
    network, x, lower, upper = problem
    certifier = Certifier(network, x, method=method, output_type="logits")
    bound = certifier.margin(lower, upper)
    found = attack_box(network, x, lower, upper, output_type="logits", n_restarts=3, n_steps=5)
    for row, target in enumerate(certifier.target.tolist()):
        points = torch.cat(
            (points_of(lower[row], upper[row]), found.point[row, None], x[row, None])
        )
        assert (margins(network, points, target) >= bound[row]).all()


@settings(max_examples=20)
@given(problems())
def test_crown_is_never_looser_than_intervals(problem):
    network, x, lower, upper = problem
    ibp, crown_ibp, crown = (
        Certifier(network, x, method=method, output_type="logits").margin(lower, upper)
        for method in METHODS
    )
    slack = 1e-9 * (1 + ibp.abs())
    assert (crown_ibp >= ibp - slack).all()
    assert (crown >= crown_ibp - slack).all()


@settings(max_examples=10)
@given(problems())
def test_a_row_is_bounded_alike_alone_in_a_batch_and_in_parts(problem):
    network, x, lower, upper = problem
    together = Certifier(network, x).margin(lower, upper)
    in_parts = Certifier(network, x, internal_batch_size=2).margin(lower, upper)
    assert torch.allclose(together, in_parts, rtol=1e-9, atol=1e-9)
    for row in range(len(x)):
        one = slice(row, row + 1)
        alone = Certifier(network, x[one]).margin(lower[one], upper[one])
        assert torch.allclose(alone, together[one], rtol=1e-9, atol=1e-9)


@given(perceptrons(torch.float64), st.integers(0, 100), st.sampled_from(METHODS))
def test_on_linear_networks_bounds_are_exact(made, seed, method):
    network, shape, dtype = made
    network = nn.Sequential(*(layer for layer in network if not isinstance(layer, nn.ReLU))).eval()
    generator = Generator().manual_seed(seed)
    x = torch.randn(2, *shape, generator=generator).to(dtype)
    lower = x - torch.rand(x.shape, generator=generator).to(dtype)
    upper = x + torch.rand(x.shape, generator=generator).to(dtype)
    certifier = Certifier(network, x, method=method, output_type="logits")
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=shape[0]))).to(dtype)
    for row, target in enumerate(certifier.target.tolist()):
        points = lower[row] + corners * (upper[row] - lower[row])
        exact = margins(network, points, target).min()
        # Intervals lose what the units of a hidden layer have in common.
        bound = certifier.margin(lower, upper)[row]
        assert bound <= exact
        if method != "ibp" or len(network) == 1:
            assert bound.item() == pytest.approx(exact.item(), abs=1e-9)


def lowest_margin(network: nn.Sequential, low: Tensor, high: Tensor, target: int) -> float:
    """The lowest margin of a network with one hidden layer in a plane's box, by enumeration.

    The margin to each rival is linear in every cell that the box's sides and the lines where units
    switch cut out, so its lowest value is at a crossing of two of them.
    """
    hidden = network[0]
    lines = list(zip(hidden.weight.tolist(), hidden.bias.tolist(), strict=True))
    for axis in range(2):
        side = [float(axis == 0), float(axis == 1)]
        lines += [(side, -float(low[axis])), (side, -float(high[axis]))]
    crossings = []
    for ((a, b), e), ((c, d), f) in itertools.combinations(lines, 2):
        determinant = a * d - b * c
        if abs(determinant) > 1e-12:
            crossings.append([(b * f - d * e) / determinant, (c * e - a * f) / determinant])
    points = torch.tensor(crossings, dtype=torch.float64)
    inside = ((points >= low - 1e-12) & (points <= high + 1e-12)).all(dim=1)
    return float(margins(network, points[inside], target).min())


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 3), st.sampled_from([0.1, 0.5, 2]))
def test_bounds_lie_below_the_lowest_margin_that_enumeration_finds(seed, n_hidden, n_out, reach):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(2, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_out))
        network.double()
        x = torch.randn(1, 2).double()
    lower, upper = x - reach, x + reach
    bounds = []
    for method in METHODS:
        certifier = Certifier(network, x, method=method, output_type="logits")
        bounds.append(certifier.margin(lower, upper).item())
    exact = lowest_margin(network, lower[0], upper[0], int(certifier.target))
    assert max(bounds) <= exact + 1e-12
    if n_hidden == 1 and n_out == 1:
        # One unit and one margin: nothing is lost but the curvature of one ReLU.
        hidden = network[0](torch.stack([lower[0], upper[0]])).detach()
        if (hidden > 0).all() or (hidden < 0).all():
            assert max(bounds) <= exact


def test_crown_is_tighter_than_intervals_where_units_have_something_in_common():
    network = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1))
    for parameter, values in zip(
        network.parameters(), ([[1.0], [2.0]], [[2.0, -1.0]], [0.5]), strict=True
    ):
        parameter.data = torch.tensor(values)
    x = torch.full((1, 1), 5.0)
    tight, loose = (
        Certifier(network, x, method=method, output_type="logits").margin(x - 1, x + 1).item()
        for method in ("crown", "ibp")
    )
    assert tight == pytest.approx(0.5, abs=1e-3)
    assert loose == pytest.approx(0.5 + 8 - 12, abs=1e-3)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(1)])
def test_crown_follows_a_maximum_whose_place_is_sure(pool):
    n_out = pool(torch.zeros(1, 1, 4, 4)).numel()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 1, 1), pool, nn.Flatten(), nn.Linear(n_out, 1))
    x = torch.randperm(16, generator=Generator().manual_seed(0)).float().view(1, 1, 4, 4)
    bound = Certifier(network, x, output_type="logits").margin(x - 0.4, x + 0.4)
    target = int(Certifier(network, x, output_type="logits").target)
    corners = x + 0.4 * (
        2 * torch.randint(0, 2, (500, 1, 4, 4), generator=Generator().manual_seed(1)) - 1
    )
    # Linear on this box: the gradient's sign points to the worst corner.
    moving = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(network(moving).sum(), moving)
    worst = x - (2 * target - 1) * 0.4 * slope.sign()
    assert margins(network, corners, target).min() >= bound
    assert bound.item() == pytest.approx(margins(network, worst, target).item(), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds_hold_for_what_is_computed_not_for_what_should_be(dtype, method):
    """Two units with the same weights in another order: their difference is rounding alone."""
    generator = Generator().manual_seed(0)
    weight = torch.randn(400, generator=generator, dtype=torch.float64)
    network = nn.Sequential(
        nn.Linear(1, 400, bias=False), nn.Linear(400, 2, bias=False), nn.Linear(2, 1, bias=False)
    )
    for layer, values in zip(
        network,
        (
            torch.ones(400, 1),
            torch.stack((weight, weight[torch.randperm(400, generator=generator)])),
            torch.tensor([[1.0, -1.0]]),
        ),
        strict=True,
    ):
        layer.weight.data = values
    network.to(dtype)
    x = torch.linspace(0, 1, 301).to(dtype)[:, None]
    computed = network(x).detach().double()[:, 0]
    assert computed.min() < 0 < computed.max()
    low, high = torch.zeros(1, 1).to(dtype), torch.ones(1, 1).to(dtype)
    for target, sign in ((0, -1), (1, 1)):
        certifier = Certifier(network, high, target, method=method, output_type="logits")
        assert (sign * computed >= certifier.margin(low, high)).all()
        # But they are no wider than some thousand roundings of the terms' magnitudes explain.
        room = 4000 * torch.finfo(dtype).eps * weight.abs().sum()
        assert certifier.margin(high, high) > -room


@settings(max_examples=15)
@given(problems())
def test_the_attack_finds_nothing_at_a_certified_scale(problem):
    network, x, lower, upper = problem
    wide_lower, wide_upper = x - 10 * (x - lower), x + 10 * (upper - x)
    scale = certified_scale(network, x, wide_lower, wide_upper, n_halvings=6)
    assert ((scale >= 0) & (scale <= 1)).all()
    low, high = scaled_box(x, wide_lower, wide_upper, scale)
    found = attack_box(network, x, low, high, n_restarts=3, n_steps=5)
    assert not found.violated[scale > 0].any()
    certifier = Certifier(network, x)
    assert (certifier.margin(low, high)[scale > 0] > 0).all()
    # Halving stopped at most one step short.
    above = (scale + 2**-6).clamp(max=1)
    bigger = certifier.margin(*scaled_box(x, wide_lower, wide_upper, above))
    assert ((bigger <= 1e-6) | (scale == 1)).all()


def two_layers(*behind: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3), *behind)


@pytest.mark.parametrize("ending", [nn.Softmax(dim=1), nn.LogSoftmax(dim=-1)])
def test_probabilities_are_certified_by_their_logits(ending):
    x = torch.randn(10, 2, generator=Generator().manual_seed(1))
    of_logits = Certifier(two_layers(), x).margin(x - 0.05, x + 0.05)
    found = Certifier(two_layers(ending), x).margin(x - 0.05, x + 0.05)
    assert (found <= of_logits).all()
    assert torch.allclose(found, of_logits, atol=1e-4)


def test_a_single_probability_is_certified_against_its_threshold():
    network = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    network[0].weight.data, network[0].bias.data = torch.ones(1, 1), torch.zeros(1)
    x = torch.tensor([[3.0], [-3.0]])
    for threshold, expected in ((None, [1.0, 1.0]), (0.9, [(3 - math.log(9)) / 3, 1.0])):
        found = certified_scale(network, x, x - 3 + 1e-3, x + 3 - 1e-3, threshold=threshold)
        assert found.tolist() == pytest.approx(expected, abs=2e-3)


def test_a_row_of_another_class_than_its_target_has_no_box():
    network, x = two_layers(), torch.zeros(1, 2)
    other = (network(x).argmax(dim=1) + 1) % 3
    assert certified_scale(network, x, x - 1, x + 1, other).item() == 0
    assert Certifier(network, x, other).margin(x, x).item() < 0


def test_a_network_too_deep_for_a_proof_of_its_own_rows_is_told_apart_from_a_box_too_large():
    def network(depth):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.ReLU())]
            net = nn.Sequential(*layers, nn.Linear(8, 3))
        for layer in layers[::2]:
            layer.weight.data *= 3
        return net

    x = torch.randn(4, 8, generator=Generator().manual_seed(1))
    with pytest.warns(BoxWarning, match=r"around 4 of 4 rows, .* row 0: with method='ibp'"):
        scale = certified_scale(network(30), x, x - 1, x + 1, method="ibp")
    assert not scale.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # No smaller box was tried, and around the third row there is none to be had.
        other = (network(1)(x).argmax(dim=1) + torch.tensor([0, 0, 1, 0])) % 3
        scale = certified_scale(network(1), x, x - 9, x + 9, other, n_halvings=1)
    assert not scale.any()


class Reshaping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(0)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.relu(), x


class Offset(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("relu", torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu + x


class OverLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], dim=-1)


class Switching(nn.Module):
    """In training it does something else."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x.relu()


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x) + x


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def without_statistics() -> nn.Module:
    return nn.BatchNorm1d(8, track_running_stats=False)


UNKNOWN = {
    "an activation": (lambda: nn.GELU(), r"layer '1\.0' \(GELU\)"),
    "a function": (lambda: Offset(), r"layer '1\.0\.add' \(add\(\)\): only layers"),
    "rows mixed": (lambda: Reshaping(), r"'1\.0\.flatten' \(flatten\(\)\): dim=0 may mix"),
    "a condition": (lambda: Branching(), "cannot be traced layer by layer"),
    "a buffer": (Scaled, r"'1\.0\.relu' \(a tensor\): only tensors that belong"),
    "the last dimension": (OverLast, r"'1\.0\.cat' \(cat\(\)\): dim=-1 may mix rows"),
    "a subclass": (lambda: Doubled(8, 8), r"layer '1\.0.*' \("),
    "softmax inside": (lambda: nn.Softmax(dim=1), r"\(Softmax\): it is supported only at the end"),
    "statistics of the batch": (without_statistics, "depends on its batch"),
    "in place": (InPlace, r"'1\.0\.act' \(ReLU\): it changes in place"),
    "padding": (
        lambda: nn.Sequential(nn.Unflatten(1, (2, 2, 2)),
                              nn.Conv2d(2, 2, 1, padding_mode="reflect")),
        r"\(Unflatten\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_layers_without_bounds_are_named_with_their_place(name):
    make, message = UNKNOWN[name]
    network = nn.Sequential(nn.Linear(2, 8), nn.Sequential(make()), nn.Linear(8, 2)).eval()
    x = torch.zeros(3, 2)
    with pytest.raises(NotApplicableError, match=message):
        Certifier(network, x)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(2, 1), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(2, 3), nn.Sigmoid()),
    ],
)
def test_endings_that_say_something_else_are_refused(network):
    with pytest.raises(NotApplicableError, match="a softmax at the end needs at least two"):
        Certifier(network, torch.zeros(1, 2))


def test_what_a_network_does_in_training_is_not_looked_at():
    network = nn.Sequential(nn.Linear(1, 1), Switching(), nn.Linear(1, 1)).train()
    for layer, bias in ((network[0], 0.0), (network[2], 0.5)):
        layer.weight.data, layer.bias.data = torch.ones(1, 1), torch.full((1,), bias)
    x = torch.zeros(1, 1)
    # relu(x) + 0.5, which is never below 0.5.
    assert certified_scale(network, x, x - 9, x + 9, output_type="logits").item() == 1
    assert network.training


def test_several_results_and_no_module_are_refused():
    with pytest.raises(NotApplicableError, match="must return one tensor"):
        Certifier(Pair(), torch.zeros(1, 2))
    with pytest.raises(NotApplicableError, match="a function has no layers"):
        Certifier(lambda x: x, torch.zeros(1, 2))
    with pytest.raises(NotApplicableError, match=r"float32 and float64, not of torch\.float16"):
        Certifier(two_layers().half(), torch.zeros(1, 2).half())
    with pytest.raises(NotApplicableError, match="padding_mode='reflect'"):
        Certifier(
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), nn.Flatten()),
            torch.zeros(1, 1, 3, 3),
        )


def test_a_hook_that_changes_a_layer_is_noticed():
    network, x = two_layers(), torch.ones(1, 2)
    network[0].register_forward_hook(lambda module, inputs, output: output + 0.01)
    with pytest.raises(NotApplicableError, match="hooks"):
        Certifier(network, x)


def test_the_network_and_the_random_state_are_left_as_found():
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    network.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state, x = torch.random.get_rng_state(), torch.zeros(3, 2)
    with torch.no_grad():
        assert not certified_scale(network, x, x - 1, x + 1).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert not network[0].weight.requires_grad
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((torch.zeros(1, 2),), {"method": "lp"}, "one of 'ibp', 'crown-ibp', 'crown', is 'lp'"),
        ((torch.zeros(1, 2), 3), {}, "not among the classes 0 to 2"),
    ],
)
def test_misuse_is_named(arguments, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Certifier(two_layers(), *arguments, **settings)


def test_boxes_that_do_not_fit_are_named():
    certifier = Certifier(two_layers(), torch.zeros(1, 2))
    with pytest.raises(InvalidInputError, match="that of row 0 does not"):
        certifier.margin(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(InvalidInputError, match="upper has NaN or infinite"):
        certifier.scale(torch.zeros(1, 2), torch.full((1, 2), torch.inf))
    with pytest.raises(InvalidInputError, match="n_halvings"):
        certifier.scale(torch.zeros(1, 2), torch.ones(1, 2), n_halvings=0)
