"""Comparing counterfactuals: the same rows, constraints and black box for all, and what each cost.

Every explainer is made once a seed. What is measured of a row is the mean over the seeds.
"""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.bench import Bench, random_state, wait
from xai_adapters.benchmark.counterfactual_quality import Reference, quality
from xai_adapters.benchmark.meter import Meter, metered
from xai_adapters.benchmark.metrics import COMMON, COMPARED_IN_COMMON
from xai_adapters.benchmark.results import ExplainerRun
from xai_adapters.registry import CounterfactualGenerator, ExplainerEntry, Subject

# Whose fit has to pay: the break-even is against it.
OURS = "fimap_check"
_N_ALONE = 20
# An explainer that mostly fails would leave no row that is valid for all.
_LEAST_VALIDITY = 0.5


class CounterfactualBench(Bench):
    """A comparison of counterfactuals.

    Args:
        n_seeds: how often each explainer is made, with `seed` and the numbers after it.
    """

    def __init__(self, *args: Any, n_seeds: int = 1, **settings: Any) -> None:
        super().__init__(*args, **settings)
        assert self.task.schema is not None
        background = self.task.background
        labels = self.black_box.labels(background)
        self.reference = Reference(self.task.schema, background, labels)
        self.n_seeds = n_seeds
        self.measured: dict[str, dict[str, Tensor]] = {}

    def explain(self, entry: ExplainerEntry, run: ExplainerRun) -> list[Tensor]:
        """The changed rows of each seed."""
        found, costs = [], []
        for seed in range(self.seed, self.seed + self.n_seeds):
            with random_state(seed, self.task.rows.device):
                changed, cost = self._explain_once(entry, run, seed)
            found.append(changed)
            costs.append(cost)
        run.fit_seconds /= self.n_seeds
        run.explain_seconds /= self.n_seeds
        run.n_rows //= self.n_seeds
        run.costs = {name: float(np.mean([cost[name] for cost in costs])) for name in costs[0]}
        n_rows = min(map(len, found))
        return [changed[:n_rows] for changed in found]

    def _explain_once(
        self, entry: ExplainerEntry, run: ExplainerRun, seed: int
    ) -> tuple[Tensor, dict[str, float]]:
        task, meter = self.task, Meter()
        # A copy: a method that fails may leave its hooks behind.
        model = metered(copy.deepcopy(task.model), meter)
        subject = Subject(model, task.background, "tabular", None, seed, task.schema)
        make = entry.load()
        start = time.perf_counter()
        generator: CounterfactualGenerator = make(subject)
        wait(task.rows)
        run.fit_seconds += time.perf_counter() - start
        fit = meter.taken()
        seconds_before = run.explain_seconds
        changed = self.in_blocks(entry, run, generator.counterfactuals)
        together, n_rows = meter.taken(), len(changed)
        seconds = run.explain_seconds - seconds_before
        alone, own, most = [], [], 0
        for row in range(min(_N_ALONE, n_rows)):
            start = time.perf_counter()
            generator.counterfactuals(task.rows[row : row + 1], self.predicted[row : row + 1])
            wait(task.rows)
            alone.append(time.perf_counter() - start)
            asked = meter.taken()
            own.append(alone[-1] - asked.seconds)
            most = max(most, asked.rows)
        return changed, {
            "fit_queries": fit.rows,
            "queries_per_row": together.rows / n_rows,
            "most_queries_of_a_row": most,
            "own_seconds_per_row": (seconds - together.seconds) / n_rows,
            "latency_p50": float(np.quantile(alone, 0.5)),
            "latency_p95": float(np.quantile(alone, 0.95)),
            "own_latency_p50": float(np.quantile(own, 0.5)),
        }

    def measure(self, entry: ExplainerEntry, explained: list[Tensor]) -> None:
        """Measure one explainer on its own."""
        n = len(explained[0])
        of_seeds = [
            quality(
                self.reference,
                self.task.rows[:n],
                changed,
                self.predicted[:n],
                self.black_box.labels,
            )
            for changed in explained
        ]
        measured = {
            name: torch.stack([values[name] for values in of_seeds]).nanmean(dim=0)
            for name in of_seeds[0]
        }
        self.measured[entry.name] = measured
        for metric, values in measured.items():
            self.record(entry.name, metric, values)

    def finish(self) -> None:
        """Measure distances again where every explainer succeeded, and when fitting has paid."""
        able = {
            name: measured
            for name, measured in self.measured.items()
            if measured["validity"].mean() >= _LEAST_VALIDITY
        }
        n = min((len(measured["validity"]) for measured in able.values()), default=0)
        common = torch.ones(n, dtype=torch.bool, device=self.task.rows.device)
        for measured in able.values():
            common &= measured["validity"][:n] == 1
        for name, measured in able.items():
            for metric in COMPARED_IN_COMMON:
                values = measured[metric][:n].masked_fill(~common, torch.nan)
                self.record(name, metric + COMMON, values)
        runs = {run.name: run for run in self.results.explainers if run.status == "ok"}
        if OURS in runs:
            for name, run in runs.items():
                if name != OURS:
                    run.costs["break_even_rows"] = break_even(runs[OURS], run)


def break_even(ours: ExplainerRun, other: ExplainerRun) -> float:
    """From how many rows on fitting and explaining takes ours less time; infinity for never."""
    gain = (other.seconds_per_row or 0.0) - (ours.seconds_per_row or 0.0)
    owed = ours.fit_seconds - other.fit_seconds
    if gain <= 0:
        return 0.0 if owed < 0 else float("inf")
    return max(0.0, owed / gain)
