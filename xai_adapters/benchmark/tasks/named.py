"""The tasks that can be named on the command line.

A task is one decorated function that reads its data, gets its model and returns a `Task` with
every row that may be explained; `load_task` cuts it to the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xai_adapters.benchmark.tasks import datasets
from xai_adapters.benchmark.tasks.networks import SqueezeNet, predict, train_small_conv_net
from xai_adapters.benchmark.tasks.table_models import MODELS, fit_model
from xai_adapters.benchmark.tasks.tables import TABLES, Table
from xai_adapters.benchmark.tasks.task import Comparison, Task
from xai_adapters.errors import InvalidInputError, UnknownNameError, require
from xai_adapters.model.black_box import BlackBox

DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Setup:
    """What a task is made with: its registered name and description, and the caller's wishes.

    Args:
        name: the name on the command line.
        description: data and model in one sentence.
        seed: of everything drawn: data, split, initial weights and the order of the rows.
        device: where the model is trained and stays.
        progress: show a bar while training.
        model: the name of the model, where there is a choice.
    """

    name: str
    description: str
    seed: int
    device: torch.device
    progress: bool
    model: str


@dataclass(frozen=True)
class TaskEntry:
    """A line of `TASKS`.

    Args:
        description: data and model in one sentence.
        limit: rows to explain unless told.
        make: makes the task with every row that may be explained.
        compares: what explainers are compared in.
        models: the models there is a choice of, the first by default; none where there is no
            choice.
    """

    description: str
    limit: int
    make: Callable[[Setup], Task]
    compares: Comparison = "attribution"
    models: tuple[str, ...] = ()


TASKS: dict[str, TaskEntry] = {}


def task(
    name: str, description: str, *, limit: int
) -> Callable[[Callable[[Setup], Task]], Callable[[Setup], Task]]:
    """Register the decorated function as a task."""

    def register(make: Callable[[Setup], Task]) -> Callable[[Setup], Task]:
        TASKS[name] = TaskEntry(description, limit, make)
        return make

    return register


def task_entry(name: str) -> TaskEntry:
    """The task of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]


def load_task(
    name: str,
    *,
    limit: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
    model: str | None = None,
) -> Task:
    """Make a task, training its model where it has one to train.

    The same name and seed give the same rows in the same order, whatever the limit.

    Args:
        name: one of `TASKS`.
        limit: explain at most this many rows; the task's own number if None.
        seed: of everything drawn.
        device: where the rows are, and the model if it is a torch module.
        progress: show a bar while training.
        model: the model to explain, for a task that has a choice of them.

    Raises:
        UnknownNameError: if there is no such task, or the task has no such model.
        InvalidInputError: if the limit is below 1, torch cannot use the device, or a model is
            named where there is no choice.
        MissingDataError: if the task needs a data file that is not there.
    """
    entry = task_entry(name)
    limit = entry.limit if limit is None else limit
    if limit < 1:
        raise InvalidInputError(f"limit must be at least 1 row, not {limit}")
    if model is not None and not entry.models:
        raise InvalidInputError(f"the task {name} has one model; leave --model out")
    if model is not None and model not in entry.models:
        raise UnknownNameError("model", model, entry.models)
    chosen = model or (entry.models[0] if entry.models else "")
    setup = Setup(name, entry.description, seed, _usable(device), progress, chosen)
    made = entry.make(setup)
    return replace(
        made,
        rows=made.rows[:limit].to(setup.device),
        background=made.background.to(setup.device),
    )


@task("digits", "scikit-learn's 8 x 8 digits and a small convolutional network", limit=100)
def _digits(setup: Setup) -> Task:
    data = require("sklearn.datasets", "benchmark").load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    labels = torch.from_numpy(data.target).long()
    order = _order(len(images), setup.seed)
    held_out, training = order[:360], order[360:]
    network = train_small_conv_net(
        images[training],
        labels[training],
        epochs=40,
        learning_rate=1e-2,
        seed=setup.seed,
        device=setup.device,
        progress=setup.progress,
    )
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=images[held_out],
        background=images[training],
        class_names=DIGITS,
        facts={"accuracy": _accuracy(predict(network, images[held_out]), labels[held_out])},
    )


@task("moons", "10,000 points on two noisy half moons and a forest of 200 trees", limit=2000)
def _moons(setup: Setup) -> Task:
    points, labels = require("sklearn.datasets", "benchmark").make_moons(
        10_000, noise=0.2, random_state=setup.seed
    )
    rows = torch.from_numpy(points).float()
    forest = require("sklearn.ensemble", "benchmark").RandomForestClassifier(
        200, random_state=setup.seed
    )
    forest.fit(rows[:8000].numpy(), labels[:8000])
    return Task(
        setup.name,
        setup.description,
        "tabular",
        forest,
        rows=rows[8000:],
        background=rows[:8000],
        class_names=("upper moon", "lower moon"),
        feature_names=("x", "y"),
        facts={"accuracy": float(forest.score(rows[8000:].numpy(), labels[8000:]))},
    )


@task("mnist", "MNIST's ten digits and a small convolutional network", limit=100)
def _mnist(setup: Setup) -> Task:
    images, labels = datasets.mnist("train")
    held_out_images, held_out_labels = datasets.mnist("test")
    network = train_small_conv_net(
        images,
        labels,
        epochs=2,
        seed=setup.seed,
        device=setup.device,
        progress=setup.progress,
    )
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=held_out_images[_order(len(held_out_images), setup.seed)],
        # A sixth of the training images: enough to fit an explainer, at a sixth of the memory.
        background=images[_order(len(images), setup.seed)[:10_000]],
        class_names=DIGITS,
        facts={"accuracy": _accuracy(predict(network, held_out_images), held_out_labels)},
    )


@task("imagenet-animals", "100 ImageNet photographs of animals and SqueezeNet 1.1", limit=20)
def _imagenet_animals(setup: Setup) -> Task:
    animals = datasets.imagenet_animals()
    path = datasets.data_file("models/squeezenet1_1_imagenet.safetensors")
    network = SqueezeNet.pretrained(path).to(setup.device)
    logits, classes = predict(network, animals.images, batch_size=20).max(1)
    # In the order of the file the first thirty are birds and the last forty-seven dogs.
    order = _order(len(animals.images), setup.seed)
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=animals.images[order[:80]],
        # Always the same twenty, so that a row's explanation does not depend on the limit.
        background=animals.images[order[80:]],
        class_names=animals.class_names,
        facts={
            "accuracy": _share(classes == animals.labels),
            "agreement with the reference": _share(classes == animals.reference_classes),
            "largest difference from a reference logit": float(
                (logits - animals.reference_logits).abs().max()
            ),
        },
    )


def _counterfactuals(name: str, description: str, make: Callable[[int], Table]) -> TaskEntry:
    """The task of finding counterfactuals in a table, with any of the models."""

    def make_task(setup: Setup) -> Task:
        table = make(setup.seed)
        model = fit_model(setup.model, table, setup.seed)
        if isinstance(model, torch.nn.Module):
            model.to(setup.device)
        n = table.n_training
        held_out = table.rows[n:]
        found = BlackBox(model).labels(held_out.to(setup.device)).cpu()
        return Task(
            setup.name,
            f"{setup.description}: {setup.model}",
            "tabular",
            model,
            rows=held_out,
            background=table.rows[:n],
            class_names=table.class_names,
            feature_names=table.schema.names,
            facts={"accuracy": _share(found == table.labels[n:])},
            schema=table.schema,
        )

    return TaskEntry(description, 200, make_task, "counterfactual", tuple(MODELS))


TASKS.update((name, _counterfactuals(name, *entry)) for name, entry in TABLES.items())


def _order(n: int, seed: int) -> Tensor:
    """The indices 0 to n - 1 in random order; the global random state is not touched."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return _share(outputs.argmax(1) == labels)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())


def _usable(device: torch.device | str) -> torch.device:
    """The device, after an empty tensor was put on it."""
    try:
        return torch.empty(0, device=device).device
    # torch raises AssertionError where it was built without support for the device.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"device '{device}' cannot be used: {reason}") from error
