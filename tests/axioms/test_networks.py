"""Networks compute what their numbers say, and rewriting them changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.axioms import Case, Domain, Network, random_network
from xai_adapters.axioms.cases.drawing import any_case
from xai_adapters.axioms.cases.networks import InParts, WeightedSum, side_by_side
from xai_adapters.axioms.cases.rewriting import rewritings
from xai_adapters.errors import InvalidInputError

CASES = any_case(Domain())
PLAIN = {
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gelu": lambda z: z * (1 + math.erf(z / math.sqrt(2))) / 2,
    "silu": lambda z: z / (1 + math.exp(-z)),
    "softplus": lambda z: math.log1p(math.exp(z)),
}


def plainly(network: Network, row: list[float]) -> list[float]:
    """The network, number by number."""
    values = list(row)
    for layer, (matrix, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        if layer:
            values = [PLAIN[network.activation](value) for value in values]
        values = [
            sum(w * v for w, v in zip(weights, values, strict=True)) + b
            for weights, b in zip(matrix, bias, strict=True)
        ]
    return values


def outputs(model: torch.nn.Module, case: Case) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor(case.rows, dtype=torch.float64))


@given(CASES)
def test_a_network_computes_what_its_numbers_say(case: Case):
    expected = torch.tensor([plainly(case.network, row) for row in case.rows]).double()
    torch.testing.assert_close(outputs(case.network.build(), case), expected, rtol=1e-6, atol=1e-6)
    probabilities = outputs(case.network.build(probabilities=True), case)
    torch.testing.assert_close(probabilities, expected.softmax(dim=1), rtol=1e-6, atol=1e-6)


@given(CASES, st.data())
def test_a_rewritten_network_computes_the_same(case: Case, data: st.DataObject):
    ways = rewritings(case.network)
    other = ways[data.draw(st.sampled_from(list(ways)))](case.network)
    torch.testing.assert_close(outputs(other.build(), case), outputs(case.network.build(), case))


@given(CASES, st.data())
def test_networks_side_by_side_add_up(case: Case, data: st.DataObject):
    one = case.network
    other = Network(
        [[[2 * w for w in row] for row in layer] for layer in one.weights],
        [[b - 1 for b in bias] for bias in one.biases],
        one.activation,
    )
    added = outputs(WeightedSum((one.build(), other.build()), (1, 1)), case)
    torch.testing.assert_close(outputs(side_by_side(one, other).build(), case), added)


@given(CASES)
def test_the_repr_is_the_code(case: Case):
    assert eval(repr(case)) == case
    assert "torch" not in repr(case)


def test_a_large_network_is_written_as_its_seed():
    network = random_network([5, 7, 2], 3, "tanh")
    assert repr(network) == "random_network([5, 7, 2], 3, 'tanh')"
    assert eval(repr(network)) == network
    assert network != random_network([5, 7, 2], 4, "tanh")


def test_features_can_come_in_parts():
    network = Network([[[1, 2, 3]]], [[4]])
    one, two = torch.ones(2, 1).double(), torch.full((2, 2), 10.0).double()
    assert InParts(network.build())(one, two).tolist() == [[55.0], [55.0]]


def test_building_draws_nothing():
    before = torch.get_rng_state()
    random_network([3, 2, 2], 0).build()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (([], []), "do not fit"),
        (([[[1, 2]], [[1, 2]]], [[0], [0]]), "do not fit"),
        (([[[1, 2]]], [[0, 0]]), "do not fit"),
        (([[[1, 2], [1]]], [[0, 0]]), "do not fit"),
        (([[[1]]], [[0]], "step"), "activation must be one of"),
        (([[[1]]], [[0]], "relu", "sequence"), "style must be one of"),
    ],
)
def test_layers_that_do_not_fit_are_refused(arguments: tuple, hint: str):
    with pytest.raises(InvalidInputError, match=hint):
        Network(*arguments)
