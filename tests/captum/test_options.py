"""Options of both attributions: listed, checked, shown; results stay as they were returned."""

from __future__ import annotations

import inspect

import pytest
import torch

from xai_adapters.box.settings import BoxOptions
from xai_adapters.captum import FIMAP, MaximalInvariantPerturbation
from xai_adapters.errors import InvalidInputError, UnknownOptionError
from xai_adapters.fimap.settings import FittingOptions

from .explainers import BOTH, made, network, normal

OPTIONS = {FIMAP: FittingOptions, MaximalInvariantPerturbation: BoxOptions}


@pytest.mark.parametrize("kind", BOTH)
def test_every_option_is_in_the_signature(kind):
    parameters = inspect.signature(kind).parameters
    assert set(OPTIONS[kind].__annotations__) < set(parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("kind", BOTH)
def test_an_unknown_option_names_the_class_and_the_nearest(kind):
    message = f"^{kind.__name__} has no option 'penaltie'. Did you mean 'penalty'"
    with pytest.raises(UnknownOptionError, match=message):
        kind(network(), penaltie=1.0)


def test_an_option_of_a_call_is_named_too():
    with pytest.raises(UnknownOptionError, match=r"^FIMAP.attribute has no option 'tarjet'"):
        FIMAP(network()).attribute(normal(1, 3), tarjet=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": -1}, "penalty must be at least 0, is -1"),
        ({"epochs": 2.5}, "epochs must be a whole number, is 2.5"),
        ({"penalty": "much"}, "penalty must be a number, is 'much'"),
        ({"threshold": "0"}, "threshold must be a number or None, is '0'"),
        ({"output_type": "scores"}, "output"),
    ],
)
def test_types_and_ranges_are_said(options, message):
    with pytest.raises(InvalidInputError, match=message):
        FIMAP(network(), **options)


def test_a_repr_shows_what_was_set():
    assert repr(FIMAP(network(), penalty=0.3, seed=0)) == "FIMAP(penalty=0.3)"
    box = MaximalInvariantPerturbation(network(), bounds=(0, 1), n_steps=5, shape="directed")
    for option in ("bounds=(0, 1)", "n_steps=5", "shape='directed'"):
        assert option in repr(box)
    assert "penalty" not in repr(box)


def test_results_do_not_change_when_the_explainer_is_fitted_again():
    explainer = made(FIMAP, network(), normal(4, 3))
    inputs = normal(4, 3)
    found = [
        explainer.attribute(inputs),
        explainer.perturb(inputs),
        explainer.certainty(inputs).length,
    ]
    before = [values.clone() for values in found]
    explainer.forward_func = lambda inputs: -network()(inputs)
    explainer.fit(normal(100, 3, seed=5))
    inputs.zero_()
    assert all(torch.equal(one, other) for one, other in zip(found, before, strict=True))
