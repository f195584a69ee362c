"""A run in progress: explainers are made and asked one after another, and measured."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.results import ExplainerRun, Measurement, Results
from xai_adapters.benchmark.statistics import bootstrap_interval, standard_error
from xai_adapters.benchmark.task import Task
from xai_adapters.core.black_box import BlackBox
from xai_adapters.core.model_state import kept_random_state
from xai_adapters.errors import (
    MissingDependencyError,
    NotApplicableError,
    PredictorError,
    require,
)
from xai_adapters.registry import ExplainerEntry


class Bench(ABC):
    """What all comparisons share; a subclass says how explainers are asked and measured.

    Args:
        task: model and rows.
        black_box: the model, for what is measured.
        results: what is measured goes there.
        seed: of the explainers and of the order among ties.
        time_limit: seconds after which an explainer gets no further block of rows.
        show_progress: show bars on standard error.
    """

    def __init__(
        self,
        task: Task,
        black_box: BlackBox,
        results: Results,
        seed: int,
        time_limit: float,
        show_progress: bool,
    ) -> None:
        self.task, self.black_box, self.results = task, black_box, results
        self.probabilities = black_box.probabilities(task.rows)
        self.predicted = self.probabilities.argmax(dim=1)
        self.seed, self.time_limit, self.show_progress = seed, time_limit, show_progress

    @abstractmethod
    def explain(self, entry: ExplainerEntry, run: ExplainerRun) -> Any:
        """Make the explainer and let it explain; what it says is handed to `measure`."""

    @abstractmethod
    def measure(self, entry: ExplainerEntry, explained: Any) -> None:
        """Measure what an explainer said."""

    @abstractmethod
    def finish(self) -> None:
        """Measure what needs more than one explainer."""

    def run(self, entry: ExplainerEntry) -> None:
        """Make, fit and ask one explainer; measure what came back."""
        run = ExplainerRun(
            entry.name,
            entry.summary,
            entry.baseline,
            "ok",
            settings={"rank_by": entry.rank_by, "block_size": entry.block_size},
            matches_mask=_matches_mask(entry, self.task),
        )
        self.results.explainers.append(run)
        try:
            with random_state(self.seed, self.task.rows.device), warnings.catch_warnings():
                # Hosts warn about what they do to a model; this one is a copy.
                warnings.simplefilter("ignore")
                explained = self.explain(entry, run)
        except (NotApplicableError, MissingDependencyError) as reason:
            run.status, run.reason = "not applicable", str(reason)
        except Exception as error:
            # Whatever a foreign explainer raises, the others are still to be compared.
            run.status, run.reason = "error", _one_line(error)
        else:
            self.measure(entry, explained)

    def in_blocks(
        self, entry: ExplainerEntry, run: ExplainerRun, ask: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """What `ask` says of the rows and their classes, block by block within the time limit."""
        rows_there = self.task.rows
        block_size = entry.block_size or len(rows_there)
        found: list[Tensor] = []
        seconds, n_rows = 0.0, 0
        with self._bar(entry.name) as bar:
            for rows, target in zip(
                rows_there.split(block_size), self.predicted.split(block_size), strict=True
            ):
                if seconds > self.time_limit:
                    run.reason = (
                        f"stopped after {self.time_limit:g} s with {n_rows} of "
                        f"{len(rows_there)} rows explained"
                    )
                    break
                start = time.perf_counter()
                answer = ask(rows, target)
                wait(rows)
                seconds += time.perf_counter() - start
                found.append(_checked(answer, rows, n_rows))
                n_rows += len(rows)
                bar.update(len(rows))
        run.explain_seconds += seconds
        run.n_rows += n_rows
        return torch.cat(found)

    def record(self, explainer: str, metric: str, values: Tensor) -> None:
        """Keep each row's value, and their mean; NaN stands for a row that was not measured."""
        of_rows = values.double().cpu().numpy()
        known = np.flatnonzero(~np.isnan(of_rows))
        if not len(known):
            return
        low, high = bootstrap_interval(of_rows[known], seed=self.seed)
        self.results.measurements.append(
            Measurement(
                explainer,
                metric,
                float(of_rows[known].mean()),
                standard_error(of_rows[known]),
                float(low),
                float(high),
                len(known),
            )
        )
        self.results.rows += [
            cell(explainer, metric, int(row), float(of_rows[row])) for row in known
        ]

    @contextmanager
    def _bar(self, name: str) -> Iterator[Any]:
        tqdm = require("tqdm", "benchmark").tqdm
        with tqdm(
            total=len(self.task.rows), desc=name, unit="row", disable=not self.show_progress,
            leave=False,
        ) as bar:  # fmt: skip
            yield bar


def _matches_mask(entry: ExplainerEntry, task: Task) -> bool | None:
    if task.kind != "image" or entry.baseline in ("none", "data"):
        return None
    return entry.baseline == "mask" or (entry.baseline == "black" and task.mask_value == 0)


def _checked(scores: Tensor, rows: Tensor, first: int) -> Tensor:
    if scores.shape != rows.shape:
        raise PredictorError(
            f"scores of shape {tuple(scores.shape)} for rows of shape {tuple(rows.shape)}"
        )
    bad = ~torch.isfinite(scores.flatten(1)).all(dim=1)
    if bad.any():
        raise PredictorError(f"scores of row {first + int(bad.nonzero()[0])} are not finite")
    return scores.detach()


def cell(
    explainer: str, metric: str, row: int, value: float, threshold: float | None = None
) -> dict[str, Any]:
    """One line of rows.parquet."""
    return {
        "explainer": explainer,
        "metric": metric,
        "row": row,
        "threshold": threshold,
        "value": value,
    }


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def wait(rows: Tensor) -> None:
    """Let an accelerator finish, so that its seconds are counted where they belong."""
    if rows.device.type != "cpu":
        torch.accelerator.synchronize(rows.device)


@contextmanager
def random_state(seed: int, device: torch.device) -> Iterator[None]:
    """A seeded random state for torch and numpy, and the caller's own afterwards."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - shap and lime draw from the global state
    with kept_random_state(device):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


def model_batch(task: Task) -> int:
    """Rows the model can be asked at once within a few hundred megabytes."""
    return max(16, 10_000_000 // task.rows[0].numel())
