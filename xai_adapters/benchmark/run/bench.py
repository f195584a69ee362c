"""What all comparisons share: how an explainer is asked, and what its answers become."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.metrics import Facts, metric_facts
from xai_adapters.benchmark.metrics.attribution_metric import Explain, ExplainModel
from xai_adapters.benchmark.results.results import Curve, ExplainerRun, Measurement, Results
from xai_adapters.benchmark.results.statistics import bootstrap_interval, standard_error
from xai_adapters.benchmark.tasks.predictions import class_probabilities
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import PredictorError
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import ExplainerEntry, Subject


@dataclass
class Explained:
    """What one explainer said of the rows, all its blocks together.

    Args:
        explanations: for each seed (n, ...), what was kept of its answers.
        values: (n,) or (n, thresholds) by metric, the mean over the seeds; NaN for what was not
            measured.
    """

    explanations: list[Tensor]
    values: dict[str, Tensor]

    @property
    def n_rows(self) -> int:
        """How many rows every seed explained."""
        return min(map(len, self.explanations))


class Bench(ABC):
    """A comparison; a subclass says how explainers are asked and measured.

    It is handed to other processes, and so holds nothing that cannot be copied to them.

    Args:
        task: model and rows.
        entries: the explainers.
        seed: of the order among ties, and of resamples.
    """

    def __init__(self, task: Task, entries: Sequence[ExplainerEntry], seed: int) -> None:
        self.task, self.seed = task, seed
        self.entries: Mapping[str, ExplainerEntry] = {entry.name: entry for entry in entries}
        self.black_box = BlackBox(task.model, batch_size=model_batch(task))
        self.probabilities = class_probabilities(task, self.black_box)
        self.predicted = self.probabilities.argmax(dim=1)

    @abstractmethod
    def subject(self, model: Any, seed: int) -> Subject:
        """What explainers are made for, with a copy of the task's model that is their own."""

    @abstractmethod
    def call(self, explainer: Any) -> Explain:
        """The call that gives an explainer's answer for rows and the classes they have."""

    @abstractmethod
    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        answer: Tensor,
        ask_of_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """What is measured of the answer for some of the rows: (n,) or (n, thresholds) each."""

    def metrics(self) -> dict[str, Facts]:
        """Facts on the metrics there may be values of."""
        return metric_facts()

    @abstractmethod
    def kept(self, entry: ExplainerEntry, answer: Tensor) -> Tensor:
        """What is kept of an answer, for what needs more than one explainer and for the report."""

    @abstractmethod
    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Measure what needs more than one explainer, and keep a few rows to look at."""

    def checked(self, answer: Tensor, rows: slice) -> Tensor:
        """The answer, if it is one finite number for each of the rows' features.

        Raises:
            PredictorError: if it is not.
        """
        asked = self.task.rows[rows]
        if answer.shape != asked.shape:
            raise PredictorError(
                f"scores of shape {tuple(answer.shape)} for rows of shape {tuple(asked.shape)}"
            )
        bad = ~torch.isfinite(answer.flatten(1)).all(dim=1)
        if bad.any():
            row = rows.start + int(bad.nonzero()[0])
            raise PredictorError(f"scores of row {row} are not finite")
        return answer.detach()

    def record(
        self,
        results: Results,
        name: str,
        metric: str,
        values: Tensor,
        *,
        of_rows_alone: bool = False,
    ) -> None:
        """Write each row's value, and the mean with its interval, into the results.

        With `of_rows_alone` there is no mean: an explainer that failed on some rows is not compared
        on the others.
        """
        of_rows = values.double().cpu().numpy()
        known = np.flatnonzero(~np.isnan(of_rows.reshape(len(of_rows), -1)).any(axis=1))
        if not len(known):
            return
        thresholds = list(results.metrics[metric]["thresholds"])
        results.rows += [
            cell(name, metric, int(row), value, threshold)
            for row in known
            for threshold, value in zip(
                thresholds or [None], np.atleast_1d(of_rows[row]).tolist(), strict=True
            )
        ]
        if of_rows_alone:
            return
        low, high = bootstrap_interval(of_rows[known], seed=self.seed)
        means = of_rows[known].mean(axis=0)
        if of_rows.ndim == 1:
            error = standard_error(of_rows[known])
            results.measurements.append(
                Measurement(name, metric, float(means), error, float(low), float(high), len(known))
            )
        else:
            ends = low.tolist(), high.tolist()
            results.curves.append(Curve(name, metric, thresholds, means.tolist(), *ends))

    def described(self, entry: ExplainerEntry) -> ExplainerRun:
        """The line of an explainer before it ran."""
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


def cell(
    explainer: str, metric: str, row: int, value: float, threshold: float | None = None
) -> dict[str, Any]:
    """A line of `rows.parquet`."""
    return {
        "explainer": explainer, "metric": metric, "row": row, "threshold": threshold,
        "value": value,
    }  # fmt: skip


def wait(rows: Tensor) -> None:
    """Let an accelerator finish, so that its seconds are counted where they belong."""
    if rows.device.type != "cpu":
        torch.accelerator.synchronize(rows.device)


def model_batch(task: Task) -> int:
    """Rows the model can be asked at once within a few hundred megabytes."""
    return max(16, 10_000_000 // task.rows[0].numel())
