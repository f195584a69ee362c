"""Options: listed in the signature, refused by name, checked by type and range."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from xai_adapters.errors import InvalidInputError, UnknownOptionError
from xai_adapters.utils.options import (
    check_choice,
    check_flag,
    check_number,
    check_whole_number,
    named_options,
    plain_numbers,
    shown,
)


@dataclass(kw_only=True)
class Settings:
    epochs: int = 10
    penalty: float = 0.1


class Explainer:
    @named_options(Settings, tolerated={"max_iter"})
    def __init__(self, model: Any, *, penalty: float = 3.0, **options: Any) -> None:
        self.options = {"penalty": penalty, **options}

    @named_options()
    def __call__(self, X: Any, *, batch_size: int = 1) -> Any:
        return X

    @named_options()
    def explain(self, X: Any, *, target: int = 0) -> Any:
        return X


class Adapter:
    @named_options(Explainer, only={"epochs"})
    def __init__(self, **options: Any) -> None:
        self.explainer = Explainer("model", **options)


def test_settings_are_listed_behind_what_the_call_has_itself():
    assert str(inspect.signature(Explainer)) == (
        "(model: 'Any', *, penalty: 'float' = 3.0, epochs: 'int' = 10) -> 'None'"
    )
    assert list(inspect.signature(Adapter).parameters) == ["epochs"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Explainer(1, epoch=3), r"^Explainer has no option 'epoch'. Did you mean 'epochs'"),
        (lambda: Adapter(epoch=3), r"^Adapter has no option 'epoch'. Did you mean 'epochs'"),
        (lambda: Adapter(penalty=3), r"^Adapter has no option 'penalty'.$"),
        (lambda: Explainer(1)(2, batchsize=1), r"^Explainer has no option 'batchsize'. Did"),
        (lambda: Explainer(1).explain(2, tarjet=1), r"^Explainer.explain has no option 'tarjet'"),
    ],
)
def test_an_unknown_option_names_what_was_called_and_the_nearest(call, message):
    with pytest.raises(UnknownOptionError, match=message):
        call()


def test_tolerated_names_are_passed_on_unlisted():
    assert Explainer(1, max_iter=3).options == {"penalty": 3.0, "max_iter": 3}
    assert "max_iter" not in inspect.signature(Explainer).parameters


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_number("p", -1, at_least=0), "p must be at least 0, is -1"),
        (lambda: check_number("p", 0, above=0), "p must be more than 0, is 0"),
        (lambda: check_number("p", 1, below=1), "p must be less than 1, is 1"),
        (lambda: check_number("p", 2, at_most=1), "p must be at most 1, is 2"),
        (lambda: check_number("p", "1"), "p must be a number, is '1'"),
        (lambda: check_number("p", float("nan")), "p must be a number, is nan"),
        (lambda: check_number("p", True), "p must be a number, is True"),
        (lambda: check_whole_number("n", 1.0, optional=True), "n must be a whole number or None"),
        (lambda: check_choice("c", "x", ("a", None)), "c must be one of 'a', None, is 'x'"),
        (lambda: check_flag("f", 1), "f must be True or False, is 1"),
    ],
)
def test_a_message_says_range_and_value(check, message):
    with pytest.raises(InvalidInputError, match=message):
        check()


def test_a_call_shows_what_differs_from_its_defaults():
    class Explainer:
        def __init__(self, seed=0, penalty=None, widths=()): ...

    values = {"seed": 0, "penalty": 1, "widths": (3,)}
    assert shown(Explainer(), values) == "Explainer(penalty=1, widths=(3,))"


def test_numbers_of_numpy_become_pythons_own():
    @dataclass(frozen=True)
    class Settings:
        seed: Any
        penalty: Any
        flag: Any
        name: Any

        def __post_init__(self) -> None:
            plain_numbers(self)

    values = vars(Settings(np.int64(3), np.float32(0.5), np.bool_(True), "l1"))
    assert values == {"seed": 3, "penalty": 0.5, "flag": True, "name": "l1"}
    assert [type(value) for value in values.values()] == [int, float, bool, str]
