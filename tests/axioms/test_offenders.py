"""Each axiom has the power to catch what it is meant for, and lets the original pass."""

from __future__ import annotations

import importlib
import pkgutil

import offenders
import pytest
from offenders.offender import Offender

from xai_adapters.axioms import AXIOMS, check_axiom
from xai_adapters.axioms.search.counterexample import MAX_LINES

ALL: list[Offender] = [
    each
    for module in pkgutil.iter_modules(offenders.__path__)
    for each in getattr(importlib.import_module(f"offenders.{module.name}"), "OFFENDERS", [])
]
_MAX_EXAMPLES = 100


def test_there_are_offenders_against_every_axiom():
    assert len(ALL) >= 40
    assert {each.axiom for each in ALL} == set(AXIOMS)
    assert len({repr(each) for each in ALL}) == len(ALL)


@pytest.mark.parametrize("wrong", ALL, ids=repr)
def test_an_offender_is_caught_by_the_axiom_meant_for_it(wrong: Offender):
    # benchmarks/axioms.py looks at the clock: at most ten seconds each.
    record = check_axiom(AXIOMS[wrong.axiom], wrong.explainer, max_examples=_MAX_EXAMPLES)
    assert record.failed, record
    assert record.status != "timed out", record
    assert record.counterexample is not None
    assert len(record.counterexample.splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "wrong", {(each.axiom, each.good.name): each for each in ALL}.values(), ids=repr
)
def test_what_the_offender_was_made_from_keeps_the_axiom(wrong: Offender):
    record = check_axiom(AXIOMS[wrong.axiom], wrong.good, max_examples=8)
    assert record.status == "kept", record
