"""The tables of the counterfactual tasks, and the models on them."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from staged import needs
from torch import nn

from xai_adapters.benchmark.tasks import load_task
from xai_adapters.benchmark.tasks.table_models import MODELS, fit_model
from xai_adapters.benchmark.tasks.tables import TABLES, Table
from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.model.black_box import BlackBox

pytest.importorskip("sklearn")

# Rows, columns, features, classes, and how often a forest is right on held-out rows at least.
EXPECTED = {
    "adult": (22_844, 38, 8, 2, 0.75),
    "credit": (6000, 18, 8, 2, 0.83),
    "breast-cancer": (569, 30, 30, 2, 0.93),
    "wine": (178, 13, 13, 3, 0.93),
    "two-moons": (10_000, 2, 2, 2, 0.95),
}
NEEDS = {"adult": needs("adult/adult.data"), "credit": needs("credit/credit.csv")}
each_table = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in TABLES]
)


@functools.cache
def made(name: str) -> Table:
    return TABLES[name][1](0)


@each_table
def test_a_table_keeps_to_its_own_schema(name: str) -> None:
    n_rows, n_columns, n_features, n_classes, _ = EXPECTED[name]
    table = made(name)
    assert table.rows.shape == (n_rows, n_columns)
    assert table.rows.dtype == torch.float32
    assert len(table.schema.names) == n_features
    assert len(table.class_names) == n_classes
    assert table.labels.unique().tolist() == list(range(n_classes))
    assert n_rows / 2 < table.n_training < n_rows
    table.schema.check(table.rows, bounds=True)


@needs("adult/adult.data", "credit/credit.csv")
def test_what_nobody_can_change_is_immutable() -> None:
    for name, fixed in (("adult", {"race", "sex"}), ("credit", {"age", "sex"})):
        features = made(name).schema.features
        assert {feature.name for feature in features if not feature.mutable} == fixed


@each_table
def test_a_task_explains_rows_that_the_model_has_not_seen(name: str) -> None:
    task = load_task(name, limit=20)
    *_, accuracy = EXPECTED[name]
    assert task.compares == "counterfactual"
    assert task.facts["accuracy"] >= accuracy
    assert len(task.background) == made(name).n_training
    assert torch.equal(task.rows, made(name).rows[made(name).n_training :][:20])
    assert task.model.predict_proba(task.rows.numpy()).shape[1] == len(task.class_names)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_learns_and_leaves_the_random_state(model: str) -> None:
    table = made("wine")
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fitted = fit_model(model, table, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    held_out, truth = table.rows[table.n_training :], table.labels[table.n_training :]
    assert (BlackBox(fitted).labels(held_out) == truth).double().mean() >= 0.85
    again = fit_model(model, table, seed=0)
    found = (BlackBox(each).probabilities(held_out) for each in (fitted, again))
    assert torch.equal(*found)
    if isinstance(fitted, nn.Module):
        assert not fitted.training


def test_a_model_is_chosen_by_name_and_only_where_there_is_a_choice() -> None:
    assert isinstance(load_task("wine", limit=1, model="mlp").model, nn.Module)
    with pytest.raises(UnknownNameError, match="Did you mean 'forest'"):
        load_task("wine", model="forrest")
    with pytest.raises(InvalidInputError, match="has only one model"):
        load_task("digits", model="forest")
