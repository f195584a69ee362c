"""Options of both counterfactual explainers: listed, checked, shown; results that stay."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from counterfactuals import BOTH, QUICK, network, normal, three_classes

from xai_adapters.alibi.convention import plain
from xai_adapters.alibi.options import FeatureOptions
from xai_adapters.errors import InvalidInputError, UnknownOptionError
from xai_adapters.fimap.settings import FittingOptions
from xai_adapters.semifactual.settings import SemifactualOptions

OPTIONS = {"FIMAPCounterfactual": FittingOptions, "InvariantBoxCounterfactual": SemifactualOptions}


@pytest.mark.parametrize("name", BOTH)
def test_every_option_is_in_the_signature(adapter, name):
    parameters = inspect.signature(getattr(adapter, name)).parameters
    for options in (OPTIONS[name], FeatureOptions):
        assert set(options.__annotations__) < set(parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert "max_iter" not in parameters


@pytest.mark.parametrize("name", BOTH)
def test_an_unknown_option_names_the_class_and_the_nearest(adapter, name):
    explainer = getattr(adapter, name)
    message = f"^{name} has no option 'penaltie'. Did you mean 'penalty'"
    with pytest.raises(UnknownOptionError, match=message):
        explainer(three_classes, penaltie=1.0)
    with pytest.raises(UnknownOptionError, match=f"^{name}.fit has no option 'XX'"):
        explainer(three_classes).fit(normal(3, 3), XX=1)
    with pytest.raises(UnknownOptionError, match="Did you mean 'target_class'"):
        explainer(three_classes).explain(normal(3, 3), targetclass=1)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "0"}, "threshold must be a number or None, is '0'"),
        ({"output_type": "scores"}, "output"),
    ],
)
def test_types_and_ranges_are_said(adapter, name, options, message):
    with pytest.raises(InvalidInputError, match=message):
        getattr(adapter, name)(three_classes, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": -1}, "penalty must be at least 0, is -1"),
        ({"epochs": "3"}, "epochs must be a whole number, is '3'"),
        ({"local_search": 1.5}, "local_search must be a whole number, is 1.5"),
        ({"line_search": "yes"}, "line_search must be True or False, is 'yes'"),
    ],
)
def test_types_and_ranges_of_fimap_are_said(adapter, options, message):
    with pytest.raises(InvalidInputError, match=message):
        adapter.FIMAPCounterfactual(three_classes, **options)


def test_a_repr_shows_what_was_set(adapter):
    explainer = adapter.FIMAPCounterfactual(
        three_classes, sparsify=True, immutable_features=["x0"], penalty=0.3, seed=0
    )
    assert repr(explainer) == (
        "FIMAPCounterfactual(sparsify=True, immutable_features=['x0'], penalty=0.3)"
    )
    box = adapter.InvariantBoxCounterfactual(network(), n_rounds=3, n_steps=5)
    assert repr(box) == "InvariantBoxCounterfactual(n_rounds=3, n_steps=5)"


@pytest.mark.parametrize("name", BOTH)
def test_an_explanation_does_not_change_after_it_was_returned(adapter, name):
    buffer = np.empty((4, 3))

    def reusing(rows):
        # As predictors do that return one array again and again.
        if len(rows) != 4:
            return three_classes(rows)
        buffer[:] = three_classes(rows)
        return buffer

    explainer = getattr(adapter, name)(reusing, **QUICK[name]).fit(normal(200, 3))
    rows = normal(4, 3, seed=1)
    explanation = explainer.explain(rows)
    before = copy.deepcopy((plain(explanation.data), plain(explanation.meta)))
    explainer.reset_predictor(lambda rows: three_classes(-rows))
    explainer.fit(normal(200, 3, seed=5))
    rows[:], buffer[:] = 0, 0
    assert (plain(explanation.data), plain(explanation.meta)) == before
