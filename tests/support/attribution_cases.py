"""A small table and scores for it, for the metrics of attributions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.metrics import Attributions
from xai_adapters.benchmark.tasks.from_python import task_of
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.model.black_box import BlackBox


def attributions(task: Task, scores: Tensor, **changes: Any) -> Attributions:
    black_box = BlackBox(task.model)
    made = Attributions(
        task, black_box, task.rows, black_box.labels(task.rows), scores, False,
        lambda rows, classes: rows, lambda name, model: lambda rows, classes: rows, 0,
    )  # fmt: skip
    return replace(made, **changes)


def table() -> Task:
    """Three columns, of which the model adds up the first two as they are."""

    def model(X: np.ndarray) -> np.ndarray:
        yes = np.clip(0.5 + 0.1 * X[:, 0] + 0.05 * X[:, 1], 0, 1)
        return np.stack((1 - yes, yes), axis=1)

    rows = np.random.default_rng(0).uniform(-1, 1, size=(30, 3)).astype(np.float32)
    return task_of(model, rows, limit=10)


def gradients(task: Task) -> Tensor:
    sign = 2 * BlackBox(task.model).labels(task.rows)[:, None] - 1
    return sign * torch.tensor([0.1, 0.05, 0.0])
