"""DiCE's and Alibi's methods as comparators: what goes in, what comes back, what is left alone."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from counterfactual_cases import MIXED, mixed_rows, subject

from xai_adapters.errors import NotApplicableError
from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import Subject, explainer_entry

# What DiCE and Alibi warn about their own code is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
DICE = ("dice_random", "dice_genetic", "dice_kdtree")
# Every feature may change: DiCE's kd-tree gives nothing else back.
FREE = FeatureSchema(
    [
        Categorical(feature.name, feature.categories, feature.columns, one_hot=feature.one_hot)
        if isinstance(feature, Categorical)
        else Continuous(feature.name, feature.column, integer=feature.integer)
        for feature in MIXED.features
    ]
)


def with_schema(of: Subject, schema: FeatureSchema | None) -> Subject:
    return Subject(of.model, of.background, "tabular", None, of.seed, schema)


def made(entry: str, of: Subject) -> Any:
    """A generator, quick where it has steps to take."""
    pytest.importorskip("alibi" if entry == "cfrl" else "dice_ml")
    maker = explainer_entry(entry).load()
    if entry == "cfrl":
        # So few that nothing is learned.
        maker = partial(maker, steps=30, autoencoder_steps=20)
    if entry == "dice_gradient":
        maker = partial(maker, min_iter=30, max_iter=60)
    return maker(of)


def global_state() -> list[Any]:
    numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
    cudnn = torch.backends.cudnn
    torchs = [torch.get_rng_state().tolist(), torch.is_grad_enabled(), torch.get_default_dtype()]
    return [random.getstate(), numpy, *torchs, cudnn.deterministic, cudnn.benchmark]


def check_columns(schema: FeatureSchema, rows: Tensor, found: Tensor) -> None:
    """Categories are categories and what is immutable is as it was, bit for bit."""
    schema.check(found)
    for feature in schema.features:
        columns = [feature.column] if isinstance(feature, Continuous) else list(feature.columns)
        if not feature.mutable:
            assert torch.equal(found[:, columns], rows[:, columns])
        elif isinstance(feature, Continuous) and feature.integer:
            changed = found[:, columns] != rows[:, columns]
            assert (found[:, columns] == found[:, columns].round())[changed].all()


@pytest.mark.parametrize(
    ("entry", "name"),
    [(entry, name) for entry in (*DICE, "cfrl") for name in ("moons forest", "mixed forest")]
    + [("dice_gradient", "moons network"), ("dice_random", "wine forest"), ("cfrl", "wine forest")],
)
def test_a_host_gives_rows_of_the_model_and_leaves_no_trace(
    entry: str, name: str, capfd: pytest.CaptureFixture[str]
):
    of, rows = subject(name)
    rows = rows[:4]
    if entry == "dice_kdtree" and name.startswith("mixed"):
        of = with_schema(of, FREE)
    box = BlackBox(of.model)
    original_class = box.labels(rows)
    before, original = global_state(), rows.clone()
    capfd.readouterr()
    generator = made(entry, of)
    found = generator.counterfactuals(rows, original_class)
    assert global_state() == before
    assert capfd.readouterr() == ("", "")
    assert torch.equal(rows, original)
    assert found.shape == rows.shape
    assert found.dtype == rows.dtype
    if of.schema is not None:
        check_columns(of.schema, rows, found)
    if entry != "cfrl":
        flipped = box.labels(found) != original_class
        assert torch.equal(flipped, (found != rows).any(dim=1))
        assert flipped.double().mean() >= 0.75
    assert torch.equal(generator.counterfactuals(rows, original_class), found)
    assert torch.equal(made(entry, of).counterfactuals(rows, original_class), found)


@pytest.mark.parametrize("entry", ["dice_random", "dice_genetic", "dice_kdtree"])
def test_a_row_alone_gets_what_it_gets_among_others(entry: str):
    of, rows = subject("mixed forest")
    of, rows = with_schema(of, FREE), rows[:3]
    original_class = BlackBox(of.model).labels(rows)
    generator = made(entry, of)
    found = generator.counterfactuals(rows, original_class)
    for at in (2, 0, 1):
        alone = generator.counterfactuals(rows[at : at + 1], original_class[at : at + 1])
        assert torch.equal(alone[0], found[at])


def test_dice_gradient_asks_with_weights_that_it_cannot_touch():
    of, rows = subject("moons network")
    of.model.train()
    made("dice_gradient", of).counterfactuals(rows[:1], BlackBox(of.model).labels(rows[:1]))
    assert of.model.training
    assert all(weight.grad is None for weight in of.model.parameters())


@pytest.mark.parametrize("name", ["moons forest", "mixed network"])
def test_dice_gradient_needs_gradients_of_every_column(name: str):
    with pytest.raises(NotApplicableError, match="gradients"):
        made("dice_gradient", subject(name)[0])


@pytest.mark.parametrize("entry", DICE)
def test_dice_changes_only_what_it_is_let(entry: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dice_ml")
    monkeypatch.setattr("xai_adapters.explainers.dice_methods._MAX_QUERIES", 2_500)
    of, rows = subject("mixed forest")
    rows = rows[3:6]
    free = with_schema(of, MIXED.restricted(["income", "job"]))
    original_class = BlackBox(of.model).labels(rows)
    found = made(entry, free).counterfactuals(rows, original_class)
    assert torch.equal(found[:, [3, 5, 6, 7, 8, 9]], rows[:, [3, 5, 6, 7, 8, 9]])
    # No row of the background is a clone but for income and job.
    assert torch.equal(found, rows) == (entry == "dice_kdtree")
    fixed = with_schema(of, MIXED.restricted([]))
    assert torch.equal(made(entry, fixed).counterfactuals(rows, original_class), rows)


@pytest.mark.parametrize("entry", DICE)
def test_rows_stay_where_dice_finds_nothing(entry: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("dice_ml")
    # Genetic search would never give up.
    monkeypatch.setattr("xai_adapters.explainers.dice_methods._MAX_QUERIES", 200)
    of, rows = subject("mixed forest")

    class Constant:
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.tile([0.8, 0.2], (len(X), 1))

    constant = Subject(Constant(), of.background[:60], "tabular", None, 0, FREE)
    original_class = torch.zeros(2, dtype=torch.int64)
    assert torch.equal(made(entry, constant).counterfactuals(rows[:2], original_class), rows[:2])


def test_dice_leaves_rows_with_unknown_categories_alone():
    of, rows = subject("mixed forest")
    background = of.background[of.background[:, 0] == 0]
    clerks = rows[rows[:, 0] == 1][:2]
    original_class = BlackBox(of.model).labels(clerks)
    known = Subject(of.model, background, "tabular", None, 0, FREE)
    assert torch.equal(made("dice_random", known).counterfactuals(clerks, original_class), clerks)


@pytest.mark.parametrize(
    ("limits", "changed_to"),
    [
        # Said once, while it is trained: ages rise, debts keep their reach.
        ({}, None),
        # Said of each row: the only home there is to move to, and where debts may end.
        ({"home": [10], "debt": [-1, 1]}, 0),
    ],
)
def test_cfrl_is_told_what_rows_may_change_to(limits: dict[str, Any], changed_to: int | None):
    of, rows = subject("mixed forest")
    features = {feature.name: feature for feature in FREE.features}
    features |= {name: MIXED.features[MIXED.names.index(name)] for name in ("height", "citizen")}
    features["age"] = replace(features["age"], direction="up")
    features["debt"] = replace(features["debt"], reach=(-2.0, 1.0))
    schema = FeatureSchema(list(features.values())).restricted("all", limits)
    of = with_schema(of, schema)
    found = made("cfrl", of).counterfactuals(rows, BlackBox(of.model).labels(rows))
    check_columns(schema, rows, found)
    assert (found[:, 3] >= rows[:, 3]).all()
    moved = found[:, 9] - rows[:, 9]
    assert ((moved <= 1 + 1e-4) & (moved >= -2 - 1e-4)).all()
    homes = found[:, 5] != rows[:, 5]
    if changed_to is None:
        assert homes.any()
    else:
        assert (found[homes, 5] == changed_to).all()
        # Who is outside stays, or goes back towards the bounds.
        assert (found[:, 9].abs() <= rows[:, 9].abs().clamp(min=1 + 1e-4)).all()


def test_a_missing_host_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    for module in ("dice_ml", "alibi.explainers"):
        monkeypatch.setitem(sys.modules, module, None)
    for entry, library in (("dice_random", "dice_ml"), ("cfrl", "alibi")):
        with pytest.raises(ImportError, match=rf"{library}.* pip install 'xai-adapters\["):
            explainer_entry(entry).load()(subject("moons forest")[0])


def test_the_free_schema_fits_the_rows():
    FREE.check(mixed_rows(20))
