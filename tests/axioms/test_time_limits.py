"""Checks with a time limit, which run in another process."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from limited import (
    LINE,
    claiming,
    doubled,
    doubled_then_waiting,
    exiting,
    killed,
    shares,
    spinning,
    swallowing,
    waiting,
)
from references import GRADIENT

from xai_adapters.axioms import AXIOMS, Record, check_axiom, explainer
from xai_adapters.axioms import load_explainers as loaded
from xai_adapters.axioms.search.processes import CheckPool
from xai_adapters.axioms.settings import session

# Limits that end a check, and those that never do.
SHORT, LONG = 2, 3600


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckPool]:
    with CheckPool() as opened:
        yield opened


@pytest.fixture
def check(pool: CheckPool) -> Iterator[Any]:
    """`check_axiom`, with one process for all tests."""
    with session({}, pool):
        yield check_axiom


def without_seconds(record: Record) -> Record:
    return replace(record, seconds=0.0)


@pytest.mark.parametrize("hang", [waiting, spinning, swallowing])
def test_whatever_hangs_is_ended_and_the_next_check_goes_on(check: Any, hang: Any) -> None:
    record = check("dummy", claiming(hang), timeout=SHORT)
    assert (record.status, record.reason) == ("timed out", f"it did not return within {SHORT} s")
    assert check("dummy", claiming(shares), timeout=LONG).status == "kept"


def test_a_counterexample_found_before_a_hang_is_not_lost(check: Any) -> None:
    # The first check of a process takes longest; after it a counterexample is found at once.
    assert check("completeness", claiming(doubled), timeout=LONG).status == "broken"
    record = check("completeness", claiming(doubled_then_waiting), timeout=5)
    assert (record.status, record.examples) == ("broken", 1)
    assert record.counterexample is not None


@pytest.mark.parametrize(
    ("dying", "how"), [(exiting, "ended with exit code 7"), (killed, "was ended by SIGKILL")]
)
def test_an_explainer_that_ends_its_process_has_crashed(check: Any, dying: Any, how: str) -> None:
    record = check("dummy", claiming(dying), timeout=LONG)
    assert record.status == "crashed"
    assert how in record.reason


@pytest.mark.parametrize("axiom", ["completeness", "dummy", "symmetry"])
@pytest.mark.parametrize("make", [shares, doubled])
def test_a_record_from_another_process_is_the_same(check: Any, axiom: str, make: Any) -> None:
    explained = claiming(make, completeness=0, symmetry="it has none", dummy=0)
    there, here = (check(axiom, explained, timeout=limit, seed=2) for limit in (LONG, None))
    assert without_seconds(there) == without_seconds(here)
    assert there.status != "timed out"


def test_what_is_loaded_by_reference_is_loaded_again(check: Any) -> None:
    _, local = loaded("limited:factory")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check("completeness", local, timeout=LONG).status == "broken"
        # Not what the reference gave, but what was made of it.
        other = replace(local, claims={"completeness": 2}, domain=LINE)
        assert check("completeness", other, timeout=LONG).status == "kept"


def test_what_cannot_be_handed_over_is_checked_here_and_said_once(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_here = types.ModuleType("only_here")
    only_here.make = types.FunctionType(shares.__code__, globals(), "make")  # type: ignore[attr-defined]
    only_here.make.__module__, only_here.make.__qualname__ = "only_here", "make"
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    local = explainer("local", lambda model: shares(model), {"dummy": 0}, domain=LINE)
    elsewhere = replace(local, name="elsewhere", make=only_here.make)
    for each, why in ((local, "lambda"), (elsewhere, "only_here")):
        with pytest.warns(UserWarning, match=f"{each.name} was checked without a time.*{why}"):
            assert check("dummy", each, timeout=LONG).status == "kept"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert check("dummy", each, timeout=LONG).status == "kept"


def test_an_axiom_that_cannot_be_handed_over_is_checked_here(check: Any) -> None:
    lax = replace(AXIOMS["completeness"], atol=1e9)
    with pytest.warns(UserWarning, match="no axiom xai_adapters.axioms.definitions.attribution"):
        record = check(lax, claiming(doubled), timeout=LONG)
    assert record.status == "kept"


def test_several_processes_give_the_records_in_order() -> None:
    from xai_adapters.axioms.axiom import check_all

    names = ["dummy", "completeness", "symmetry", "linearity"]
    asked = [(AXIOMS[name], GRADIENT, None) for name in names]
    ended: list[str] = []
    records = check_all(asked, 2, lambda record: ended.append(record.axiom), max_examples=3)
    assert [record.axiom for record in records] == names
    assert sorted(ended) == sorted(names)
    here = check_all(asked, max_examples=3)
    assert [without_seconds(record) for record in records] == [
        without_seconds(record) for record in here
    ]
