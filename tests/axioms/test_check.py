"""The search, its records, and the three ways to start it in a program."""

from __future__ import annotations

import random
import re
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import GRADIENT, REFERENCES, SHAPLEY

from xai_adapters.axioms import (
    AXIOMS,
    AxiomError,
    Case,
    Domain,
    ExpectedFailure,
    Explainer,
    Network,
    check_axiom,
    check_explainer,
    explainer,
    load_explainers,
    measure,
    parametrize_with_axioms,
    registered,
)
from xai_adapters.axioms.search.counterexample import MAX_LINES
from xai_adapters.errors import InvalidInputError, NotApplicableError, UnknownNameError

LINE = Domain.linear(styles=("module",))


class Doubled:
    """Twice the shares of a linear model: complete for no model but 0."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.weight = model[0].weight.detach()

    def attribute(self, inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 2 * self.weight[target] * inputs


def doubled(**claims: float | str) -> Explainer:
    return explainer("doubled", Doubled, claims or {"completeness": 0}, domain=LINE)


def refusing(model: torch.nn.Module) -> None:
    raise NotApplicableError("it needs a forest")


@pytest.mark.parametrize("reference", REFERENCES, ids=repr)
def test_no_false_alarms(reference: Explainer):
    # benchmarks/axioms.py does the full count: 20 seeds, 200 examples.
    axioms = [name for name in AXIOMS if not name.endswith("_randomization")]
    for record in check_explainer(reference, axioms, None, max_examples=4, seed=1):
        assert record.status in ("kept", "not claimed"), record


def test_a_broken_axiom_has_a_small_counterexample_that_can_be_pasted(
    capsys: pytest.CaptureFixture[str],
):
    (record,) = check_explainer(doubled(), ["completeness"], on_fail=None)
    assert record.status == "broken"
    assert record.case == Case(Network([[[1]]], [[0]]), [[1]], [0])
    assert (record.gap, record.expected, record.got) == (1.0, 1, 2)
    assert record.counterexample is not None
    assert len(record.counterexample.splitlines()) <= MAX_LINES
    # The test's module is no place to import from; the rest runs as it is.
    code = re.sub("from .* import Doubled", "", record.counterexample)
    exec(code.replace("'doubled', Doubled,", "'doubled', Doubled, domain=LINE, claims="), {
        "Doubled": Doubled, "LINE": LINE,
    })  # fmt: skip
    assert "gap=1.0" in capsys.readouterr().out


def test_a_registered_explainers_counterexample_runs_as_it_is(capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("captum")
    record = check_axiom(AXIOMS["completeness"], registered("deep_lift"))
    assert record.counterexample is not None
    exec(record.counterexample, {})
    assert f"gap={record.gap}" in capsys.readouterr().out


def test_the_same_seed_finds_the_same_and_another_draws_others():
    seen: list[list[str]] = []

    def noting(model: torch.nn.Module) -> Doubled:
        seen[-1].append(repr(model[0].weight.tolist()))
        return Doubled(model)

    tested = explainer("noting", noting, {"dummy": 0}, domain=LINE)
    for seed in (3, 3, 4):
        seen.append([])
        check_axiom(AXIOMS["dummy"], tested, max_examples=20, seed=seed)
    assert seen[0] == seen[1] != seen[2]


def test_nothing_global_is_touched():
    def greedy_for_randomness(model: torch.nn.Module) -> Doubled:
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002
        random.seed(5)
        torch.rand(3)
        return Doubled(model)

    def state() -> tuple:
        return (
            torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(),  # noqa: NPY002
            random.getstate(), torch.is_grad_enabled(), settings.default, warnings.filters[:],
        )  # fmt: skip

    before = state()
    tested = explainer("random", greedy_for_randomness, {"completeness": 0}, domain=LINE)
    check_explainer(tested, ["completeness"], on_fail=None, max_examples=5)
    assert state() == before


def test_statuses():
    claims = {"completeness": 0, "dummy": 0, "symmetry": "it has none"}
    records = {r.axiom: r for r in check_explainer(doubled(**claims), on_fail=None)}
    assert set(records) == set(AXIOMS)
    assert records["completeness"].status == "broken"
    assert (records["dummy"].status, records["dummy"].examples) == ("kept", 100)
    assert (records["symmetry"].status, records["symmetry"].reason) == (
        "not claimed", "it has none",
    )  # fmt: skip
    assert records["linearity"].reason == "it makes no such claim"
    refused = check_axiom(AXIOMS["dummy"], explainer("refusing", refusing, {"dummy": 0}))
    assert (refused.status, refused.reason) == ("not applicable", "it needs a forest")
    crashed = check_axiom(
        AXIOMS["dummy"], explainer("text", lambda model: "not callable", {"dummy": 0})
    )
    assert crashed.status == "crashed"
    assert "make returned a str" in crashed.reason
    assert crashed.case is not None
    assert crashed.case.network.n_hidden == 0


def test_an_axiom_that_is_itself_wrong_stops_nobody():
    def undrawable(domain: Domain) -> st.SearchStrategy[Case]:
        return st.integers().map(lambda number: 1 / 0)

    wrong = replace(AXIOMS["dummy"], cases=undrawable)
    record = check_axiom(wrong, doubled(dummy=0))
    assert (record.status, record.counterexample) == ("crashed", None)
    assert "ZeroDivisionError" in record.reason


def test_a_broken_promise_is_shown_before_a_crash():
    def torn(model: torch.nn.Module) -> Doubled:
        if model[0].weight.shape[1] > 1:
            raise RuntimeError("too wide")
        return Doubled(model)

    tested = explainer("torn", torn, {"completeness": 0}, domain=LINE)
    assert check_axiom(AXIOMS["completeness"], tested).status == "broken"


def test_a_claim_widens_the_tolerance():
    assert check_axiom(AXIOMS["completeness"], doubled(completeness=1.0)).status == "kept"
    assert check_axiom(AXIOMS["completeness"], doubled(completeness=0.9)).status == "broken"
    case = Case(Network([[[3]]], [[0]]), [[1]], [0])
    finding = measure("completeness", doubled(completeness=0.9), case)
    assert finding.tolerance == pytest.approx(1e-6 + (1e-5 + 0.9) * 3)


def test_failures_raise_warn_or_are_only_recorded():
    with pytest.raises(AxiomError, match=r"doubled / completeness: broken\n(.|\n)*measure\("):
        check_explainer(doubled(), ["completeness"])
    with pytest.warns(UserWarning, match="completeness: broken"):
        check_explainer(doubled(), ["completeness"], on_fail="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_explainer(doubled(), ["completeness"], on_fail=None)
    with pytest.raises(InvalidInputError, match="on_fail"):
        check_explainer(doubled(), on_fail="no")
    with pytest.raises(AxiomError):
        AXIOMS["completeness"].check(doubled())


PINNED = Case(Network([[[1]]], [[0]]), [[1]], [0])
HARMLESS = Case(Network([[[0]]], [[0]]), [[1]], [0])


def test_expected_failures():
    for expected, n_examples in (("why", None), (ExpectedFailure("why", PINNED), 1)):
        (record,) = check_explainer(
            doubled(), ["completeness"], expected_failures={"completeness": expected}
        )
        assert (record.status, record.reason) == ("expected failure", "why")
        assert n_examples in (None, record.examples)
    (record,) = check_explainer(
        doubled(),
        ["completeness"],
        expected_failures={"completeness": ExpectedFailure("why", HARMLESS)},
    )
    assert record.status == "kept"
    assert "was expected to fail" in record.reason
    with pytest.warns(UserWarning, match="'completenes'"):
        check_explainer(doubled(), ["dummy"], expected_failures={"completenes": "why"})


def test_the_decorator_makes_a_case_of_each_claim():
    with pytest.warns(UserWarning, match="no check is called") as told:
        mark = parametrize_with_axioms(
            [GRADIENT, doubled(completeness=0, symmetry="it has none")],
            axioms=["completeness", "symmetry", "dummy"],
            expected_failures={
                "doubled": {"completeness": ExpectedFailure("why", HARMLESS), "dummy": "unclaimed"},
                "tripled": {"completeness": "why"},
            },
        )
    assert sorted(str(each.message) for each in told) == [
        "expected_failures: no check is called doubled/dummy",
        "expected_failures: no check is called tripled/completeness",
    ]
    names, cases = mark.args
    assert names == ("explainer", "axiom")
    assert [case.id for case in cases] == [
        "gradient-symmetry", "gradient-dummy", "doubled-completeness", "doubled-symmetry",
    ]  # fmt: skip
    assert [bool(case.marks) for case in cases] == [False, False, False, True]
    tested, axiom = cases[2].values
    with pytest.raises(AxiomError, match="none any more"):
        axiom.check(tested)


@parametrize_with_axioms(
    [SHAPLEY, doubled()],
    axioms=["completeness"],
    expected_failures={"doubled": {"completeness": ExpectedFailure("it doubles", PINNED)}},
)
def test_axiom(explainer: Explainer, axiom):
    axiom.check(explainer, max_examples=10)


def test_a_budget_ends_a_search_but_not_before_a_few_cases():
    def slow(model: torch.nn.Module) -> Doubled:
        time.sleep(0.05)
        return Doubled(model)

    tested = explainer("slow", slow, {"dummy": 0}, domain=LINE)
    record = check_axiom(AXIOMS["dummy"], tested, budget=0.3)
    assert record.status == "kept"
    assert 3 <= record.examples < 20
    assert check_axiom(AXIOMS["dummy"], tested, budget=1e-6).examples == 3


def test_a_check_can_run_in_a_property_test_of_the_users():
    @settings(max_examples=2, deadline=None)
    @given(st.integers(0, 3))
    def drawn(seed: int) -> None:
        record = check_axiom(AXIOMS["completeness"], doubled(), max_examples=5, seed=seed)
        assert record.status == "broken"

    drawn()


def one() -> Explainer:
    return doubled()


TWO = [doubled(), GRADIENT]
SAME = [doubled(), doubled()]


def test_explainers_are_loaded_by_name():
    here = __name__
    for reference, names in (
        (f"{here}:one", ["doubled"]),
        (f"{here}:TWO", ["doubled", "gradient"]),
    ):
        found = load_explainers(reference)
        assert [each.name for each in found] == names
        assert found[-1].source == f"load_explainers({reference!r})[{len(found) - 1}]"
    with pytest.raises(InvalidInputError, match="different names"):
        load_explainers(f"{here}:SAME")
    with pytest.raises(UnknownNameError, match="Did you mean 'fimap'"):
        load_explainers("fimapp")


@pytest.mark.parametrize("claim", [-1.0, float("nan")])
def test_a_claim_that_says_nothing_is_refused(claim: float):
    with pytest.raises(InvalidInputError, match="error of at least 0"):
        explainer("x", Doubled, {"dummy": claim})
    with pytest.raises(UnknownNameError, match="Did you mean 'dummy'"):
        explainer("x", Doubled, {"dumy": 0})


@pytest.mark.parametrize("name", AXIOMS)
def test_axioms_are_described(name: str):
    axiom = AXIOMS[name]
    assert axiom.name == name
    assert axiom.statement.endswith((".", ".)"))
    assert axiom.formula
    assert axiom.source
    assert repr(axiom) == f"axiom({name!r})"
