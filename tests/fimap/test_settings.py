from __future__ import annotations

import dataclasses
import inspect
import typing

import pytest

from xai_adapters import FeatureSchema, MinimalPerturbation
from xai_adapters.errors import InvalidInputError, UnknownOptionError
from xai_adapters.fimap import FittingOptions, FittingSettings


def test_the_typed_dict_has_the_settings_names_and_types():
    assert typing.get_type_hints(FittingOptions) == typing.get_type_hints(FittingSettings)


def test_the_constructor_lists_every_option_with_its_default():
    listed = {
        name: parameter.default
        for name, parameter in inspect.signature(MinimalPerturbation).parameters.items()
    }
    assert listed == {"schema": None, **dataclasses.asdict(FittingSettings())}


def test_settings_are_frozen_and_leave_the_schema_apart():
    schema = FeatureSchema.all_continuous(2)
    explainer = MinimalPerturbation(schema=schema, epochs=3, surrogate_widths=[8])
    assert explainer.schema is schema
    assert explainer.settings == FittingSettings(epochs=3, surrogate_widths=(8,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        explainer.settings.epochs = 4


def test_repr_shows_what_was_set():
    assert repr(MinimalPerturbation()) == "MinimalPerturbation()"
    assert repr(MinimalPerturbation(penalty=1, norm="l1", surrogate_widths=[8])) == (
        "MinimalPerturbation(surrogate_widths=(8,), penalty=1, norm='l1')"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surrogate_widths": 200}, "surrogate_widths must be a sequence of whole numbers, is 200"),
        ({"perturber_widths": (8, 2.5)}, "perturber_widths must be a whole number, is 2.5"),
        ({"dropout": 1}, "dropout must be less than 1, is 1"),
        ({"learning_rate": 0}, "learning_rate must be more than 0, is 0"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, is 'fast'"),
        ({"epochs": 2.5}, "epochs must be a whole number, is 2.5"),
        ({"epochs": True}, "epochs must be a whole number, is True"),
        ({"batch_size": 0}, "batch_size must be at least 1, is 0"),
        ({"penalty": -1}, "penalty must be at least 0, is -1"),
        ({"penalty": float("nan")}, "penalty must be a number, is nan"),
        ({"norm": "l3"}, "norm must be one of 'l1', 'l2', is 'l3'"),
        ({"scale": 1}, "scale must be one of 'column', 'shared', is 1"),
        ({"soft_labels": 1}, "soft_labels must be True or False, is 1"),
        ({"query_budget": "all"}, "query_budget must be a whole number or None, is 'all'"),
        ({"seed": None}, "seed must be a whole number, is None"),
        ({"schema": 3}, "schema must be a FeatureSchema or None, is 3"),
    ],
    ids=repr,
)
def test_what_cannot_be_set_is_named_with_its_range(options, message):
    with pytest.raises(InvalidInputError) as raised:
        MinimalPerturbation(**options)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: MinimalPerturbation(epoch=3),
            "MinimalPerturbation has no option 'epoch'. Did you mean 'epochs'?",
        ),
        (
            lambda: MinimalPerturbation().fit([[0.0]], label=[0]),
            "MinimalPerturbation.fit has no option 'label'. Did you mean 'labels'?",
        ),
        (
            lambda: MinimalPerturbation().perturb([[0.0]], sparsity=True),
            "MinimalPerturbation.perturb has no option 'sparsity'. Did you mean 'sparsify'?",
        ),
    ],
    ids=["constructor", "fit", "perturb"],
)
def test_an_unknown_option_is_named_with_the_nearest(call, message):
    with pytest.raises(UnknownOptionError) as raised:
        call()
    assert str(raised.value) == message
