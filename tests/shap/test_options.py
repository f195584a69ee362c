"""Options of both SHAP explainers: listed, checked, shown; results stay as they were returned."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from counterfactuals import QUICK, network, normal, three_classes

from xai_adapters.errors import InvalidInputError, UnknownOptionError
from xai_adapters.fimap.settings import FittingOptions
from xai_adapters.semifactual.settings import SemifactualOptions
from xai_adapters.shap import FIMAPExplainer, InvariantBoxExplainer

OPTIONS = {FIMAPExplainer: FittingOptions, InvariantBoxExplainer: SemifactualOptions}
BOTH = list(OPTIONS)


@pytest.mark.parametrize("kind", BOTH)
def test_every_option_is_in_the_signature(kind):
    parameters = inspect.signature(kind).parameters
    assert set(OPTIONS[kind].__annotations__) < set(parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())


@pytest.mark.parametrize("kind", BOTH)
def test_an_unknown_option_names_the_class_and_the_nearest(kind):
    message = f"^{kind.__name__} has no option 'penaltie'. Did you mean 'penalty'"
    with pytest.raises(UnknownOptionError, match=message):
        kind(three_classes, normal(9, 3), penaltie=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": -1}, "penalty must be at least 0, is -1"),
        ({"epochs": 2.5}, "epochs must be a whole number, is 2.5"),
        ({"threshold": "0"}, "threshold must be a number or None, is '0'"),
    ],
)
def test_types_and_ranges_are_said(options, message):
    with pytest.raises(InvalidInputError, match=message):
        FIMAPExplainer(three_classes, normal(9, 3), **options)


def test_a_repr_shows_what_was_set():
    box = InvariantBoxExplainer(network(), feature_names=["a", "b", "c"], n_rounds=3, seed=0)
    assert repr(box) == "InvariantBoxExplainer(feature_names=['a', 'b', 'c'], n_rounds=3)"
    fimap = FIMAPExplainer(
        three_classes, normal(50, 3), output_names=["p", "q", "r"], **QUICK["FIMAPCounterfactual"]
    )
    assert "output_names=['p', 'q', 'r'], " in repr(fimap)
    assert "epochs=6" in repr(fimap)


@pytest.mark.parametrize("kind", BOTH)
def test_an_explanation_does_not_change_with_what_it_was_made_from(kind):
    name = "FIMAPCounterfactual" if kind is FIMAPExplainer else "InvariantBoxCounterfactual"
    explainer = kind(three_classes, normal(200, 3), **QUICK[name])
    rows = normal(4, 3, seed=1)
    explanation = explainer(rows)
    parts = explanation.values, explanation.base_values, explanation.data
    before = [part.copy() for part in parts]
    rows[:] = 0
    explainer.expected_value[:] = 0
    assert all(np.array_equal(one, other) for one, other in zip(parts, before, strict=True))
