"""The registry of tasks.

A task is one function, decorated with `register`, in a file of this package. It reads its data,
makes or loads its model, and returns a `Task` with every row that may be explained; `load_task`
limits their number. Nothing else has to be edited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from xai_adapters.benchmark.tasks.task import Comparison, Task
from xai_adapters.errors import InvalidInputError, UnknownNameError


@dataclass(frozen=True)
class TaskSetup:
    """What the function of a task is given.

    Args:
        name: the name on the command line.
        description: data and model in one sentence.
        seed: for data, split, initial weights and the order of the rows.
        device: where the model is trained and stays.
        progress: show a bar while training.
        model: name of the model, if there is a choice.
    """

    name: str
    description: str
    seed: int
    device: torch.device
    progress: bool
    model: str


@dataclass(frozen=True)
class TaskEntry:
    """A registered task.

    Args:
        description: data and model in one sentence.
        limit: default number of rows to explain.
        make: makes the task with every row that may be explained.
        compares: what is compared: attributions or counterfactuals.
        models: names of the models to choose from, the default first; empty if there is no choice.
    """

    description: str
    limit: int
    make: Callable[[TaskSetup], Task]
    compares: Comparison = "attribution"
    models: tuple[str, ...] = ()


TASKS: dict[str, TaskEntry] = {}


def register(
    name: str, description: str, *, limit: int
) -> Callable[[Callable[[TaskSetup], Task]], Callable[[TaskSetup], Task]]:
    """Register the decorated function as a task."""

    def add(make: Callable[[TaskSetup], Task]) -> Callable[[TaskSetup], Task]:
        TASKS[name] = TaskEntry(description, limit, make)
        return make

    return add


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
    """Make a registered task; this may train a model.

    The same name and seed give the same rows in the same order, whatever the limit.

    Args:
        name: one of `TASKS`.
        limit: largest number of rows to explain; the task's default if None.
        seed: for data, split, initial weights and the order of the rows.
        device: where the rows are, and the model if it is a torch module.
        progress: show a bar while training.
        model: name of the model, for a task with a choice.

    Raises:
        UnknownNameError: if there is no such task, or the task has no such model.
        InvalidInputError: if the limit is below 1, torch cannot use the device, or the task has
            only one model and `model` is given.
        MissingDataError: if the task needs a data file that is not there.
    """
    entry = task_entry(name)
    limit = entry.limit if limit is None else limit
    if limit < 1:
        raise InvalidInputError(f"limit must be at least 1, is {limit}")
    if model is not None and not entry.models:
        raise InvalidInputError(f"the task {name} has only one model; leave out model")
    if model is not None and model not in entry.models:
        raise UnknownNameError("model", model, entry.models)
    chosen = model or (entry.models[0] if entry.models else "")
    setup = TaskSetup(name, entry.description, seed, _usable(device), progress, chosen)
    made = entry.make(setup)
    return replace(
        made,
        rows=made.rows[:limit].to(setup.device),
        background=made.background.to(setup.device),
    )


def _usable(device: torch.device | str) -> torch.device:
    """The device, after an empty tensor was put on it."""
    try:
        return torch.empty(0, device=device).device
    # torch raises AssertionError where it was built without support for the device.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"device '{device}' cannot be used: {reason}") from error
