"""Tasks on tables: attributions, and counterfactuals for any of several models."""

from __future__ import annotations

from collections.abc import Callable

import torch

from xai_adapters.benchmark.tasks.registered import TASKS, TaskEntry, TaskSetup, register
from xai_adapters.benchmark.tasks.table_models import MODELS, fit_model
from xai_adapters.benchmark.tasks.tables import TABLES, Table
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import require
from xai_adapters.model.black_box import BlackBox


@register("moons", "10,000 points on two noisy half moons and a forest of 200 trees", limit=2000)
def _moons(setup: TaskSetup) -> Task:
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


def _counterfactual_task(name: str, description: str, make: Callable[[int], Table]) -> TaskEntry:
    """The task of finding counterfactuals in a table, for any of the models."""

    def make_task(setup: TaskSetup) -> Task:
        table = make(setup.seed)
        model = fit_model(setup.model, table, setup.seed)
        if isinstance(model, torch.nn.Module):
            model.to(setup.device)
        n = table.n_training
        held_out = table.rows[n:]
        predicted = BlackBox(model).labels(held_out.to(setup.device)).cpu()
        return Task(
            setup.name,
            f"{setup.description}: {setup.model}",
            "tabular",
            model,
            rows=held_out,
            background=table.rows[:n],
            class_names=table.class_names,
            feature_names=table.schema.names,
            facts={"accuracy": float((predicted == table.labels[n:]).double().mean())},
            schema=table.schema,
        )

    return TaskEntry(description, 200, make_task, "counterfactual", tuple(MODELS))


TASKS.update((name, _counterfactual_task(name, *entry)) for name, entry in TABLES.items())
