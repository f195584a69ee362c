"""Ways to write a network differently without changing its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from xai_adapters.axioms.cases.networks import Network


def _identities(network: Network) -> Network:
    return replace(network, style="identities")


def _other_calls(network: Network) -> Network:
    return replace(network, style="module" if network.style == "functional" else "functional")


def _relu_pair(network: Network) -> Network:
    """The outputs through one more hidden layer: y = relu(y) - relu(-y)."""
    last = network.weights[-1]
    weight = [*last, *([-value for value in row] for row in last)]
    bias = [*network.biases[-1], *(-value for value in network.biases[-1])]
    k = len(last)
    again = [[int(i == j) - int(j == i + k) for j in range(2 * k)] for i in range(k)]
    return replace(
        network,
        weights=[*network.weights[:-1], weight, again],
        biases=[*network.biases[:-1], bias, [0] * k],
    )


def _on_hidden(
    change: Callable[[list[list[float]], list[float], list[list[float]]], None],
) -> Callable[[Network], Network]:
    """A rewriting of the first hidden layer: its weights, its biases, and the weights behind it."""

    def rewrite(network: Network) -> Network:
        into = [list(row) for row in network.weights[0]]
        bias = list(network.biases[0])
        out = [list(row) for row in network.weights[1]]
        change(into, bias, out)
        return replace(
            network,
            weights=[into, out, *network.weights[2:]],
            biases=[bias, *network.biases[1:]],
        )

    return rewrite


def _reverse(into: list[list[float]], bias: list[float], out: list[list[float]]) -> None:
    into.reverse()
    bias.reverse()
    for row in out:
        row.reverse()


def _halve(into: list[list[float]], bias: list[float], out: list[list[float]]) -> None:
    into.append(into[0])
    bias.append(bias[0])
    for row in out:
        row[0] = row[0] / 2
        row.append(row[0])


def _cancel(into: list[list[float]], bias: list[float], out: list[list[float]]) -> None:
    for sign in (1, -1):
        into.append([1] * len(into[0]))
        bias.append(1)
        for row in out:
            row.append(sign)


def _idle(into: list[list[float]], bias: list[float], out: list[list[float]]) -> None:
    into.append([1] * len(into[0]))
    bias.append(1)
    for row in out:
        row.append(0)


def _rescale(into: list[list[float]], bias: list[float], out: list[list[float]]) -> None:
    into[0] = [2 * value for value in into[0]]
    bias[0] = 2 * bias[0]
    for row in out:
        row[0] = row[0] / 2


_ANY = {"inserted identities": _identities, "functional activations": _other_calls}
_HIDDEN = {
    "permuted units": _on_hidden(_reverse),
    "a unit in two halves": _on_hidden(_halve),
    "two units that cancel": _on_hidden(_cancel),
    "a unit that nothing reads": _on_hidden(_idle),
}
_RELU_ONLY = {"outputs through a pair of ReLUs": _relu_pair}
_RELU_HIDDEN = {"a unit twice as steep": _on_hidden(_rescale)}


def rewritings(network: Network) -> dict[str, Callable[[Network], Network]]:
    """By name, what can be done to a network: each gives one that computes the same function.

    Example:
        >>> hat = Network([[[-1]], [[-1]]], [[1], [1]])
        >>> rewritings(hat)["a unit in two halves"](hat)
        Network([[[-1], [-1]], [[-0.5, -0.5]]], [[1, 1], [1]])
    """
    ways: dict[str, Callable[[Network], Network]] = dict(_ANY)
    if network.n_hidden:
        ways |= _HIDDEN
    if network.activation == "relu":
        ways |= _RELU_ONLY
    if network.activation == "relu" and network.n_hidden:
        ways |= _RELU_HIDDEN
    return ways
