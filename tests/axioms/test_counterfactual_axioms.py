"""Axioms of counterfactuals: what they let pass, what they refuse, how explainers are called."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from counterfactuals import QUICK_FIMAP
from hypothesis import given
from hypothesis import strategies as st
from offenders.counterfactual import (
    GOOD,
    NEAREST_ON_PLANES,
    on_planes,
    step_into,
)
from torch import Tensor

from xai_adapters.axioms import (
    AXIOMS,
    Case,
    Domain,
    Explainer,
    Network,
    check_axiom,
    explainer,
    measure,
)
from xai_adapters.axioms.answers.attributions import UnusableAnswerError
from xai_adapters.axioms.answers.counterfactuals import changing
from xai_adapters.axioms.cases.columns import as_table, placed, schema_of, violation
from xai_adapters.errors import NotApplicableError
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.model.black_box import BlackBox

NAMES = [name for name, each in AXIOMS.items() if each.kind == "counterfactual"]


class FIMAP:
    """FIMAP with the line search and needless changes undone, fitted quickly.

    Axioms draw the same models from the same seed: each is fitted once for all of them.
    """

    FITTED: ClassVar[dict[str, MinimalPerturbation]] = {}

    def __init__(self, subject: Any) -> None:
        self.black_box = BlackBox(subject.model, output_type="logits")
        model = subject.model
        weights = [each.tolist() for each in model.parameters()]
        features = subject.schema and list(subject.schema.features)
        made_of = model, getattr(model, "activation", None), weights
        key = repr((made_of, features, subject.background.tolist()))
        if key not in self.FITTED:
            solver = MinimalPerturbation(schema=subject.schema, **QUICK_FIMAP)
            self.FITTED[key] = solver.fit(subject.background, self.black_box)
        self.solver = self.FITTED[key]

    def perturb(self, rows: Tensor, original_class: Tensor, target: Tensor | None = None) -> Any:
        return self.solver.perturb(
            rows,
            target,
            original_class=original_class,
            black_box=self.black_box,
            line_search=True,
            sparsify=True,
        )


FIMAP_CHECKED = explainer(
    "fimap_sparsify",
    FIMAP,
    {
        "validity": 0,
        "target_reached": 0,
        "honest_success": 0,
        "constraints": 0,
        "one_hot": 0,
        "idempotence": 0,
        "counterfactual_batch_independence": 1e-5,
        "coverage": "it asks along one direction a row, and one more",
        "no_needless_change": "it puts back one feature after the other, and a change that was "
        "needed then need not be so at the end",
        "shortest_step": "its steps are 64ths of the perturber's, not of what is left of them",
        "linear_length": "its directions are learned, not computed",
        "linear_direction": "its directions are learned, not computed",
    },
    takes="subject",
    n_background=256,
    domain=Domain(max_hidden_layers=1, max_features=3),
)


@pytest.mark.parametrize(
    ("good", "name"),
    [(good, name) for good in GOOD for name in good.claims],
    ids=lambda each: getattr(each, "name", each),
)
def test_exact_counterfactuals_keep_all_they_claim(good: Explainer, name: str):
    record = check_axiom(AXIOMS[name], good, max_examples=40, seed=1)
    assert record.status == "kept", record


@pytest.mark.parametrize("name", NAMES)
def test_fimap_keeps_all_it_claims(name: str):
    claim = FIMAP_CHECKED.claims[name]
    record = check_axiom(AXIOMS[name], FIMAP_CHECKED, max_examples=20)
    assert record.status == ("not claimed" if isinstance(claim, str) else "kept"), record


# That a change is needless is rare: one has to work against another.
@pytest.mark.parametrize("name", ["coverage", "shortest_step", "linear_length", "linear_direction"])
def test_what_fimap_does_not_claim_it_does_not_keep(name: str):
    record = check_axiom(AXIOMS[name], replace(FIMAP_CHECKED, claims={name: 0}), max_examples=40)
    assert record.status == "broken", record


def found_nothing(rows: Tensor, original_class: Tensor) -> Tensor:
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_who_never_finds_anything_keeps_nothing_and_is_told_so_by_coverage(name: str):
    silent = explainer("silent", lambda subject: found_nothing, {name: 0}, takes="subject")
    status = check_axiom(AXIOMS[name], silent, max_examples=20).status
    expected = {
        "coverage": "broken",
        # It does change nothing, and always the same.
        "counterfactual_batch_independence": "kept",
    }
    assert status == expected.get(name, "not applicable")


@pytest.mark.parametrize("name", ["validity", "one_hot"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda rows, original_class: None,
        lambda rows, original_class: rows[:, :0],
        lambda rows, original_class: rows * torch.nan,
        lambda rows, original_class: 1 / 0,
    ],
    ids=["None", "wrong shape", "NaN", "raises"],
)
def test_an_unusable_answer_is_a_crash(name: str, answer: Any):
    broken = explainer("broken", lambda subject: answer, {name: 0}, takes="subject")
    record = check_axiom(AXIOMS[name], broken, max_examples=5)
    assert record.status == "crashed", record


def test_a_row_on_a_boundary_has_no_class():
    network = Network([[[1], [-1]]], [[0, 0]])
    with pytest.raises(NotApplicableError, match="boundary"):
        measure("validity", NEAREST_ON_PLANES, Case(network, [[0]], [0]))
    assert measure("validity", NEAREST_ON_PLANES, Case(network, [[0], [1]], [0, 0])).is_kept


@pytest.mark.parametrize("name", ["constraints", "one_hot"])
def test_an_explainer_of_a_model_alone_is_not_asked_about_features(name: str):
    alone = explainer("alone", lambda model: found_nothing, {name: 0})
    record = check_axiom(AXIOMS[name], alone, max_examples=10)
    assert (record.status, "model alone" in record.reason) == ("not applicable", True)


@pytest.mark.parametrize(("claim", "is_kept"), [(1 / 8, True), (1 / 16, False)])
def test_a_stated_precision_is_what_a_step_may_be_too_long(claim: float, is_kept: bool):
    longer = on_planes(lambda step, *_: step / (1 - 0.1))
    tested = replace(NEAREST_ON_PLANES, make=longer, claims={"shortest_step": claim})
    case = Case(Network([[[1, 1], [-1, 0]]], [[0, 0]]), [[1, 2]], [0])
    finding = measure("shortest_step", tested, case)
    assert finding.is_kept == is_kept
    assert finding.gap == pytest.approx(0.1, abs=1 / 64)


def test_distance_is_in_the_units_of_who_knows_the_background():
    """The plane x1 + x2 = 0 is nearest along (s1^2, s2^2) where s are the units."""
    case = Case(Network([[[1, 1], [-1, -1]]], [[0, 0]]), [[1, 1]], [0])

    def to_the_plane(subject: Any) -> Any:
        variance = subject.background.var(dim=0)

        def perturb(rows: Tensor, original_class: Tensor) -> Tensor:
            share = rows.sum(dim=1, keepdim=True) * (1 + 1e-9) / variance.sum()
            return rows - share * variance

        return perturb

    aware = Explainer("aware", to_the_plane, takes="subject")
    plain = Explainer("plain", lambda subject: on_planes()(subject.model), takes="subject")
    for name in ("linear_length", "linear_direction"):
        assert measure(name, aware, case).is_kept
        assert not measure(name, plain, case).is_kept
        assert measure(name, NEAREST_ON_PLANES, case).is_kept


@given(st.data())
def test_the_nearest_point_of_a_class_is_as_near_as_a_search_says(data: Any):
    """The references are themselves checked: no sampled point of the class is nearer."""
    n_classes = data.draw(st.integers(2, 3))
    numbers = st.integers(-3, 3)
    weight = torch.tensor([[data.draw(numbers) for _ in range(2)] for _ in range(n_classes)])
    bias = torch.tensor([data.draw(numbers) for _ in range(n_classes)])
    row = torch.tensor([data.draw(numbers) for _ in range(2)]).double()
    step = step_into(weight.double(), bias.double(), row, 0)
    grid = torch.linspace(-12, 12, 241).double()
    points = torch.cartesian_prod(grid, grid)
    scores = points @ weight.double().T + bias
    inside = (scores[:, :1] >= scores[:, 1:] + 1e-6).all(dim=1)
    distance = (points - row).norm(dim=1)[inside]
    if step is None:
        assert len(distance) == 0
    elif len(distance):
        # The grid's nearest point is at most a cell's diagonal farther, where there is room.
        assert step.norm() <= distance.min() + 1e-6


COLUMNS = st.lists(
    st.sampled_from(["free", "fixed", "up", "down", "whole", [-1, 1], [0, 2.5], 2, 3]),
    min_size=1,
    max_size=4,
)


@given(COLUMNS, st.integers(0, 999))
def test_what_a_schema_settles_is_permitted_and_else_is_moved_by_it(features: Any, seed: int):
    """The schema of the core is a second opinion about every violation."""
    schema = schema_of(features)
    generator = torch.Generator().manual_seed(seed)
    before, after = (
        3 * torch.randn(8, schema.n_columns, generator=generator, dtype=torch.float64)
        for _ in range(2)
    )
    before = as_table(before, features)
    schema.check(before, bounds=True)
    assert (violation(before, before, features) == 0).all()
    settled = schema.decode(schema.settle(schema.encode(before), schema.encode(after)))
    assert violation(before, settled, features).max() < 1e-12
    permitted = (settled == after).all(dim=1)
    assert ((violation(before, after, features) < 1e-12) == permitted).all()


def test_features_own_their_columns():
    found = [(feature, place.start, place.stop) for feature, place in placed(["up", 3, [0, 1]])]
    assert found == [("up", 0, 1), (3, 1, 4), ([0, 1], 4, 5)]


ROWS, ORIGIN = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), torch.tensor([0, 1])


class Recorder:
    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, {}

    def of(self, **asked: Any) -> Any:
        self.asked = asked
        return self.answer


def by_position(recorder: Recorder) -> Any:
    return lambda rows, classes: recorder.of(rows=rows, original_class=classes)


def by_name(recorder: Recorder) -> Any:
    def perturb(rows: Tensor, target: Any = None, *, original_class: Any = None) -> Any:
        return recorder.of(rows=rows, original_class=original_class, target=target)

    return SimpleNamespace(perturb=perturb)


def as_registered(recorder: Recorder) -> Any:
    return SimpleNamespace(counterfactuals=by_position(recorder))


def as_captum(recorder: Recorder) -> Any:
    return SimpleNamespace(
        attribute=None, perturb=lambda inputs, target=None: recorder.of(rows=inputs, target=target)
    )


def as_alibi(recorder: Recorder) -> Any:
    def explain(X: Any, target_class: Any = None, *, Y_t: Any = None, **alibi: Any) -> Any:
        return recorder.of(rows=X, target=target_class, **alibi)

    return SimpleNamespace(explain=explain)


@pytest.mark.parametrize("form", [by_position, by_name, as_registered, as_captum, as_alibi])
def test_every_host_is_called_in_its_own_way(form: Any):
    recorder = Recorder(ROWS + 1)
    change = changing(form(recorder))
    found = change(ROWS, ORIGIN)
    assert torch.equal(found.rows, ROWS + 1)
    assert found.given.all()
    assert found.success is None
    asked = recorder.asked
    assert isinstance(asked["rows"], np.ndarray if form is as_alibi else Tensor)
    assert np.array_equal(asked["rows"], ROWS)
    if "original_class" in asked:
        assert torch.equal(asked["original_class"], ORIGIN)
    if "target" in asked:
        assert asked["target"] is None
        change(ROWS, ORIGIN, 1 - ORIGIN)
        assert torch.equal(recorder.asked["target"], 1 - ORIGIN)
    else:
        with pytest.raises(NotApplicableError, match="takes no target class"):
            change(ROWS, ORIGIN, 1 - ORIGIN)


def test_who_has_to_be_told_a_target_is_not_asked_without():
    change = changing(lambda rows, target: rows + target[:, None])
    assert change(ROWS, ORIGIN, ORIGIN).rows[1, 0] == 4
    with pytest.raises(NotApplicableError, match="needs a target class"):
        change(ROWS, ORIGIN)


@pytest.mark.parametrize(
    ("answer", "given", "success"),
    [
        (torch.cat((ROWS[:1] + 1, ROWS[1:])), [True, False], None),
        ((ROWS.numpy() + 1,), [True, True], None),
        (
            SimpleNamespace(perturbed=ROWS + 1, success=torch.tensor([False, True])),
            [False, True],
            [False, True],
        ),
        (SimpleNamespace(perturbed=ROWS + 1, success=None), [True, True], None),
        (
            SimpleNamespace(data={"cf": {"X": ROWS.numpy() + 1}, "success": [True, False]}),
            [True, False],
            [True, False],
        ),
        (SimpleNamespace(data={"cf": None, "success": False}), [False, False], [False, False]),
        (SimpleNamespace(data={"cf": None}), [False, False], None),
    ],
    ids=["rows", "one in a tuple", "ours", "ours, not asked", "alibi", "alibi, none", "no flag"],
)
def test_every_host_is_understood(answer: Any, given: list[bool], success: list[bool] | None):
    found = changing(lambda rows, original_class: answer)(ROWS, ORIGIN)
    assert found.rows.dtype == torch.float64
    assert found.given.tolist() == given
    assert (found.success if success is None else found.success.tolist()) == success


def test_what_cannot_be_called_is_said():
    with pytest.raises(UnusableAnswerError, match="make returned a int"):
        changing(3)


def test_the_rows_that_were_given_are_not_handed_out():
    changing(lambda rows, original_class: rows.zero_() + original_class.zero_()[:, None])(
        ROWS, ORIGIN
    )
    assert ROWS[0, 0] == 1
    assert ORIGIN[1] == 1
