from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from staged import needs_animals, needs_mnist
from torch import nn

from xai_adapters.benchmark.tasks import TASKS, TaskSetup, datasets, load_task, register, registered
from xai_adapters.benchmark.tasks.tables import TABLES
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, UnknownNameError

# Held-out rows there are, default limit, rows of background, shape of a row, classes.
EXPECTED = {
    "digits": (360, 100, 1437, (1, 8, 8), 10),
    "mnist": (500, 100, 2000, (1, 28, 28), 10),
    "imagenet-animals": (80, 20, 20, (3, 224, 224), 1000),
    "moons": (2000, 2000, 8000, (2,), 2),
}
NEEDS = {"mnist": needs_mnist, "imagenet-animals": needs_animals}
each_task = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=NEEDS.get(name, ())) for name in EXPECTED]
)


@pytest.fixture(scope="module")
def load() -> Callable[..., Task]:
    """`load_task` on a small part of MNIST, each task made once."""
    whole = functools.cache(datasets.mnist)

    def part(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        n = {"train": 2000, "test": 500}[split]
        images, labels = whole(split)
        return images[:n], labels[:n]

    @functools.cache
    def loaded(name: str, **settings: int) -> Task:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets, "mnist", part)
            return load_task(name, **settings)

    return loaded


def test_the_table_is_complete() -> None:
    assert list(TASKS) == [*EXPECTED, *TABLES]
    assert all(entry.description.count("\n") == 0 for entry in TASKS.values())


@each_task
def test_a_task_is_ready_for_any_explainer(name: str, load: Callable[..., Task]) -> None:
    _, limit, n_background, shape, n_classes = EXPECTED[name]
    task = load(name)
    assert (task.name, task.description) == (name, TASKS[name].description)
    assert task.kind == ("image" if len(shape) == 3 else "tabular")
    assert task.rows.shape == (limit, *shape)
    assert task.background.shape == (n_background, *shape)
    assert task.rows.dtype == task.background.dtype == torch.float32
    assert len(task.class_names) == n_classes
    if isinstance(task.model, nn.Module):
        assert not task.model.training
        assert task.model(task.rows[:2]).shape == (2, n_classes)
        assert 0 <= task.rows.min() < task.rows.max() <= 1
    else:
        assert task.model.predict_proba(task.rows[:2].numpy()).shape == (2, n_classes)
        assert len(task.feature_names) == shape[0]


@each_task
def test_no_row_to_explain_is_in_the_background(name: str, load: Callable[..., Task]) -> None:
    task = load(name, limit=10_000)
    assert len(task.rows) == EXPECTED[name][0]
    background = {row.numpy().tobytes() for row in task.background}
    assert sum(row.numpy().tobytes() in background for row in task.rows) == 0


@each_task
def test_the_limit_cuts_and_nothing_else(name: str, load: Callable[..., Task]) -> None:
    few, more = load(name, limit=5), load(name)
    assert torch.equal(few.rows, more.rows[:5])
    assert torch.equal(few.background, more.background)
    assert few.facts == more.facts


@each_task
def test_another_seed_gives_other_rows(name: str, load: Callable[..., Task]) -> None:
    assert not torch.equal(load(name, limit=5).rows, load(name, limit=5, seed=1).rows)


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_random_states_are_left_as_found_and_do_not_matter(
    name: str, load: Callable[..., Task]
) -> None:
    once = load(name, limit=5)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - it is the global state that must not be touched
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = load_task(name, limit=5)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert once.data_hash() == again.data_hash()
    assert once.facts == again.facts


def test_accuracies(load: Callable[..., Task]) -> None:
    assert load("digits").facts["accuracy"] >= 0.97
    # The two moons overlap: the best possible is about 0.97.
    assert load("moons").facts["accuracy"] >= 0.95


@needs_mnist
def test_a_part_of_mnist_is_learned(load: Callable[..., Task]) -> None:
    assert load("mnist").facts["accuracy"] >= 0.7


@needs_animals
def test_squeezenet_agrees_with_the_reference(load: Callable[..., Task]) -> None:
    facts = load("imagenet-animals").facts
    assert facts["accuracy"] == pytest.approx(0.71)
    assert facts["agreement with the reference"] == 1
    assert facts["largest difference from a reference logit"] < 5e-4


def test_an_unknown_task_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        load_task("digit")


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInputError, match=f"at least 1, is {limit}"):
        load_task("digits", limit=limit)


def test_an_unusable_device_is_refused_in_one_line() -> None:
    with pytest.raises(InvalidInputError, match="device 'gpu' cannot be used") as caught:
        load_task("digits", device="gpu")
    assert "\n" not in str(caught.value)


def test_a_task_is_added_with_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "TASKS", {})

    @register("two", "Two rows.", limit=1)
    def _two(setup: TaskSetup) -> Task:
        rows = torch.eye(2)
        return Task(setup.name, setup.description, "tabular", None, rows, rows, ("a", "b"))

    task = load_task("two")
    assert (task.name, task.description, len(task.rows)) == ("two", "Two rows.", 1)
