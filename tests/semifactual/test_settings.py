"""The options of the box of a table are those of its signature."""

from __future__ import annotations

import inspect

from xai_adapters import InvariantBox
from xai_adapters.box.settings import BoxOptions
from xai_adapters.semifactual import SemifactualBox
from xai_adapters.semifactual.settings import SemifactualOptions


def test_options_for_adapters_are_those_of_the_signature():
    own = set(inspect.signature(SemifactualBox).parameters) - {"schema"}
    assert set(SemifactualOptions.__annotations__) == own


def test_what_every_box_takes_is_passed_on_to_the_same_names():
    assert set(BoxOptions.__annotations__) < set(inspect.signature(InvariantBox).parameters)
