"""A comparison of explainers on a task: how they are called, measured and kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics import Facts, metric_facts, registered_metrics
from xai_adapters.benchmark.metrics.attribution_metric import Explain, ExplainModel
from xai_adapters.benchmark.results.results import ExplainerRun, Results
from xai_adapters.benchmark.tasks.predictions import class_probabilities
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import PredictorError
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import ExplainerEntry, Subject


@dataclass
class Explained:
    """The explanations of one explainer and their values, from all of its blocks.

    Args:
        explanations: for each seed (n, ...), what was kept of them.
        values: (n,) or (n, thresholds) by metric, averaged over the seeds; NaN where there is none.
    """

    explanations: list[Tensor]
    values: dict[str, Tensor]


class Bench(ABC):
    """A comparison; subclasses say how explainers are called and measured.

    It is copied to worker processes.

    Args:
        task: model and rows.
        entries: the explainers.
        seed: seed of measuring: of the order of ties, and of the bootstrap.
    """

    def __init__(self, task: Task, entries: Sequence[ExplainerEntry], seed: int) -> None:
        self.task, self.seed = task, seed
        # With the bench they reach worker processes, where the user's own are not registered.
        self.registered_metrics = registered_metrics()
        self.entries: Mapping[str, ExplainerEntry] = {entry.name: entry for entry in entries}
        self.black_box = BlackBox(task.model, batch_size=model_batch(task))
        self.probabilities = class_probabilities(task, self.black_box)
        self.predicted = self.probabilities.argmax(dim=1)

    @abstractmethod
    def subject(self, model: Any, seed: int) -> Subject:
        """What an explainer is made for, with its own copy of the task's model."""

    @abstractmethod
    def call(self, explainer: Any) -> Explain:
        """The call that returns an explainer's explanations of rows and their classes."""

    @abstractmethod
    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        explanations: Tensor,
        explain_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """Values (n,) or (n, thresholds) of the explanations of some rows, by metric."""

    def metrics(self) -> dict[str, Facts]:
        """Facts on the metrics that may have values."""
        return metric_facts()

    @abstractmethod
    def to_keep(self, entry: ExplainerEntry, explanations: Tensor) -> Tensor:
        """What is kept of explanations, for comparing them with others and for the report."""

    @abstractmethod
    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Add to the results what needs all explainers: agreement, examples, the gallery."""

    def checked(self, explanations: Tensor, rows: slice) -> Tensor:
        """The explanations, if they are one finite number for each feature of the rows.

        Raises:
            PredictorError: if they are not.
        """
        shape = self.task.rows[rows].shape
        if explanations.shape != shape:
            raise PredictorError(
                f"scores of shape {tuple(explanations.shape)} for rows of shape {tuple(shape)}"
            )
        bad = ~torch.isfinite(explanations.flatten(1)).all(dim=1)
        if bad.any():
            row = rows.start + int(bad.nonzero()[0])
            raise PredictorError(f"scores of row {row} are not finite")
        return explanations.detach()

    def new_run(self, entry: ExplainerEntry) -> ExplainerRun:
        """The entry of an explainer in the results before it runs."""
        return ExplainerRun(
            entry.name,
            entry.summary,
            entry.baseline,
            "ok",
            settings={"rank_by": entry.rank_by, "block_size": entry.block_size},
            matches_mask=_matches_mask(entry, self.task),
            role=entry.role,
        )


def _matches_mask(entry: ExplainerEntry, task: Task) -> bool | None:
    if task.kind != "image" or entry.baseline in ("none", "data"):
        return None
    return entry.baseline == "mask" or (entry.baseline == "black" and task.mask_value == 0)


def wait(rows: Tensor) -> None:
    """Wait until the device of rows is idle, so that its work is timed where it belongs."""
    if rows.device.type != "cpu":
        torch.accelerator.synchronize(rows.device)


def model_batch(task: Task) -> int:
    """Number of rows per query of the model that fits into a few hundred megabytes."""
    return max(16, 10_000_000 // task.rows[0].numel())
