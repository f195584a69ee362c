"""Small networks that are written down in whole numbers, so that a counterexample reads well."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor, nn

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.options import check_choice

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "softplus"]
Style = Literal["module", "functional", "identities"]
Layer = Sequence[Sequence[float]]

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
STYLES: tuple[Style, ...] = get_args(Style)
PIECEWISE_LINEAR: tuple[Activation, ...] = ("relu",)

_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
}


@dataclass(frozen=True, repr=False)
class Network:
    """A fully connected network: linear layers, one activation between them, nothing behind.

    Args:
        weights: one matrix (units out, units in) a layer.
        biases: one vector (units out,) a layer.
        activation: "relu", "tanh", "sigmoid", "gelu", "silu" or "softplus".
        style: how it is put together, which no explanation should depend on: of "module"s, with
            activations that are called as functions ("functional"), or of modules with an
            `nn.Identity` behind each ("identities").

    Raises:
        InvalidInputError: for layers that do not fit together, or an unknown activation or style.

    Example:
        >>> hat = Network([[[-1]], [[-1]]], [[1], [1]])  # 1 - relu(1 - x)
        >>> hat.build()(torch.tensor([[2.0]], dtype=torch.float64)).item()
        1.0
    """

    weights: Sequence[Layer]
    biases: Sequence[Sequence[float]]
    activation: Activation = "relu"
    style: Style = "module"
    # Of a `random_network`: its sizes and its seed.
    seeded: tuple[list[int], int] | None = field(default=None, init=False, compare=False)

    def __post_init__(self) -> None:
        """Freeze the numbers, and see that the layers fit."""
        weights = tuple(tuple(tuple(row) for row in matrix) for matrix in self.weights)
        biases = tuple(tuple(vector) for vector in self.biases)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "biases", biases)
        width = len(weights[0][0]) if weights and weights[0] else 0
        fits = width > 0 and len(weights) == len(biases)
        for matrix, bias in zip(weights, biases, strict=False):
            fits = fits and bool(matrix) and len(matrix) == len(bias)
            fits = fits and all(len(row) == width for row in matrix)
            width = len(matrix)
        if not fits:
            raise InvalidInputError(
                f"the layers of {self!r} do not fit together: each wants a matrix (units out, "
                "units in) and a bias for each unit out"
            )
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("style", self.style, STYLES)

    def __repr__(self) -> str:
        """The code that makes it."""
        made, given = "Network", [code(self.weights), code(self.biases)]
        if self.seeded:
            made, given = "random_network", [repr(value) for value in self.seeded]
        if self.activation != "relu":
            given.append(f"{self.activation!r}")
        if self.style != "module":
            given.append(f"style={self.style!r}")
        return f"{made}({', '.join(given)})"

    @property
    def n_features(self) -> int:
        """How many numbers a row has."""
        return len(self.weights[0][0])

    @property
    def n_outputs(self) -> int:
        """How many outputs a row gets."""
        return len(self.weights[-1])

    @property
    def n_hidden(self) -> int:
        """How many hidden units there are in all layers."""
        return sum(len(matrix) for matrix in self.weights[:-1])

    def but_first_layer(self, weight: Layer, bias: Sequence[float]) -> Network:
        """The network with another first layer."""
        return replace(self, weights=[weight, *self.weights[1:]], biases=[bias, *self.biases[1:]])

    def but_last_layer(self, weight: Layer, bias: Sequence[float]) -> Network:
        """The network with another last layer."""
        return replace(self, weights=[*self.weights[:-1], weight], biases=[*self.biases[:-1], bias])

    def build(self, *, probabilities: bool = False) -> nn.Module:
        """The network as a float64 module in eval mode, with a softmax behind it if asked."""
        linears = [
            _linear(matrix, bias) for matrix, bias in zip(self.weights, self.biases, strict=True)
        ]
        if self.style == "functional":
            return _Functional(linears, _FUNCTIONS[self.activation], probabilities).eval()
        layers: list[nn.Module] = []
        for number, linear in enumerate(linears):
            layers.append(linear)
            if number < len(linears) - 1:
                layers.append(_MODULES[self.activation]())
        if probabilities:
            layers.append(nn.Softmax(dim=1))
        if self.style == "identities":
            layers = [module for layer in layers for module in (layer, nn.Identity())]
        return nn.Sequential(*layers).eval()


def _linear(matrix: Layer, bias: Sequence[float]) -> nn.Linear:
    # Put together by hand: its constructor would draw weights from the global random state.
    linear = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(linear)
    linear.in_features, linear.out_features = len(matrix[0]), len(matrix)
    linear.weight = nn.Parameter(torch.tensor(matrix, dtype=torch.float64))
    linear.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))
    return linear


class _Functional(nn.Module):
    def __init__(
        self, linears: list[nn.Linear], activation: Callable[[Tensor], Tensor], softmax: bool
    ) -> None:
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.activation, self.softmax = activation, softmax

    def forward(self, rows: Tensor) -> Tensor:
        for number, linear in enumerate(self.linears):
            rows = linear(self.activation(rows) if number else rows)
        return rows.softmax(dim=1) if self.softmax else rows


class WeightedSum(nn.Module):
    """A weighted sum of the outputs of several models."""

    def __init__(self, models: Sequence[nn.Module], factors: Sequence[float]) -> None:
        super().__init__()
        self.models, self.factors = nn.ModuleList(models), tuple(factors)

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, K) of rows (n, d)."""
        terms = [
            factor * model(rows) for factor, model in zip(self.factors, self.models, strict=True)
        ]
        return torch.stack(terms).sum(dim=0)


class InParts(nn.Module):
    """A model that takes its features as several tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *parts: Tensor) -> Tensor:
        """Outputs (n, K) of parts (n, d1), (n, d2), ..."""
        outputs: Tensor = self.model(torch.cat(parts, dim=1))
        return outputs


def side_by_side(one: Network, other: Network) -> Network:
    """One network whose outputs are the sums of two networks' outputs, of equal depth.

    Example:
        >>> side_by_side(Network([[[1]], [[2]]], [[0], [1]]), Network([[[3]], [[4]]], [[5], [6]]))
        Network([[[1], [3]], [[2, 4]]], [[0, 5], [7]])
    """
    weights, biases = [], []
    last = len(one.weights) - 1
    for layer, (left, right) in enumerate(zip(one.weights, other.weights, strict=True)):
        a, b = one.biases[layer], other.biases[layer]
        if layer == last == 0:
            weights.append(_added(left, right))
        elif layer == last:
            weights.append([[*x, *y] for x, y in zip(left, right, strict=True)])
        elif layer == 0:
            weights.append([*left, *right])
        else:
            weights.append(
                [
                    *([*row, *[0] * len(right[0])] for row in left),
                    *([*[0] * len(left[0]), *row] for row in right),
                ]
            )
        biases.append([x + y for x, y in zip(a, b, strict=True)] if layer == last else [*a, *b])
    return Network(weights, biases, one.activation, one.style)


def _added(left: Layer, right: Layer) -> Layer:
    return [[x + y for x, y in zip(a, b, strict=True)] for a, b in zip(left, right, strict=True)]


def random_network(
    sizes: Sequence[int], seed: int, activation: Activation = "relu", style: Style = "module"
) -> Network:
    """A network too large to be written down: eighths between -9/8 and 9/8, from a seed.

    Args:
        sizes: features, units of each hidden layer, outputs.
        seed: of a generator of its own.
        activation: as in `Network`.
        style: as in `Network`.

    Example:
        >>> random_network([2, 1], seed=0)
        random_network([2, 1], 0)
    """
    generator = Generator().manual_seed(seed)

    def draw(*shape: int) -> list[Any]:
        eighths = torch.randint(-9, 10, shape, generator=generator) / 8
        return list(eighths.tolist())

    weights = [draw(high, low) for low, high in itertools.pairwise(sizes)]
    biases = [draw(width) for width in sizes[1:]]
    network = Network(weights, biases, activation, style)
    object.__setattr__(network, "seeded", (list(sizes), seed))
    return network


def code(values: object) -> str:
    """Nested numbers as short Python code: lists, and whole numbers without a point.

    Example:
        >>> code(((1.0, 0.5), (-2, 3)))
        '[[1, 0.5], [-2, 3]]'
    """
    if isinstance(values, (list, tuple)):
        return f"[{', '.join(code(value) for value in values)}]"
    if isinstance(values, float):
        return f"{values:.6g}"
    return repr(values)
