"""The results of a run, put together from its finished blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.results.ranking import rank_explainers
from xai_adapters.benchmark.results.recording import record_values
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.run.blocks import BlockResult, BlockStore
from xai_adapters.benchmark.run.scheduler import Job, Scheduler
from xai_adapters.benchmark.run.worker import OVERWRITES_BACKGROUND, OVERWRITES_ROWS

# Number of rows that are timed one by one.
N_ROW_BY_ROW = 20


def assemble(results: Results, bench: Bench, scheduler: Scheduler, store: BlockStore) -> None:
    """Add what is finished to the results, and measure what needs more than one explainer."""
    explained: dict[str, Explained] = {}
    for name, entry in bench.entries.items():
        run = bench.new_run(entry)
        results.explainers.append(run)
        if failure := scheduler.failure(name):
            run.status, run.reason = failure
        jobs = [job for job in scheduler.jobs if job.explainer == name]
        finished = {job.seed: done for job in jobs if (done := _finished(job, store))}
        # One that fails with a seed is not compared, but its rows of other seeds are kept.
        if not finished:
            continue
        jobs = [job for job in jobs if job.seed in finished]
        run.n_rows = min(job.blocks[len(finished[job.seed]) - 1].end for job in jobs)
        run.settings |= finished[jobs[0].seed][0].settings
        costs = _means([_costs(finished[job.seed], store, job) for job in jobs])
        run.fit_seconds = costs.pop("fit_seconds")
        run.explain_seconds = costs.pop("seconds_per_row") * run.n_rows
        run.costs = costs
        joined = _join(list(finished.values()), run.n_rows)
        if run.status == "ok":
            cut_short = next((job.cut_short for job in jobs if job.cut_short), "")
            remarks = []
            if cut_short:
                n_rows = len(bench.task.rows)
                remarks.append(f"{cut_short}; {run.n_rows} of {n_rows} rows are explained")
            remarks.extend(_overwrites(each for of_seed in finished.values() for each in of_seed))
            run.reason = "; ".join(remarks)
            explained[name] = joined
        for metric in results.metrics:
            if metric in joined.values:
                record_values(
                    results, name, metric, joined.values[metric], seed=bench.seed,
                    compared=run.status == "ok",
                )  # fmt: skip
    bench.finish(results, explained)
    rank_explainers(results)


def _overwrites(results: Iterable[BlockResult]) -> Iterator[str]:
    """Say that an explainer works in place, which it could not do to its users' tensors here."""
    costs = [result.costs for result in results]
    for cost, what in ((OVERWRITES_ROWS, "rows"), (OVERWRITES_BACKGROUND, "background rows")):
        if any(each.get(cost) for each in costs):
            yield f"it overwrites the {what} it is given; here these are copies"


def _finished(job: Job, store: BlockStore) -> list[BlockResult]:
    """The results from the first block up to the first that is missing."""
    finished = []
    for block in job.blocks:
        result = store.load(block)
        if result is None:
            break
        finished.append(result)
    return finished


def _join(of_seeds: Sequence[Sequence[BlockResult]], n_rows: int) -> Explained:
    """Explanations of each seed, and values averaged over the seeds."""
    explanations, values = [], []
    for results in of_seeds:
        explanations.append(_cat([result.explanation for result in results])[:n_rows])
        values.append(
            {
                metric: _cat([result.values[metric] for result in results])[:n_rows]
                for metric in results[0].values
            }
        )
    means = {
        metric: torch.stack([each[metric] for each in values]).nanmean(dim=0)
        for metric in values[0]
    }
    return Explained(explanations, means)


def _cat(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([part for part in parts if part is not None])


def _means(of_seeds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean costs over the seeds, of those that are known for all."""
    return {
        cost: float(np.mean([of_seed[cost] for of_seed in of_seeds]))
        for cost in of_seeds[0]
        if all(cost in of_seed for of_seed in of_seeds)
    }


def _costs(results: Sequence[BlockResult], store: BlockStore, job: Job) -> dict[str, float]:
    """What an explainer made with one seed cost: seconds, queries, memory."""
    n_rows = job.blocks[len(results) - 1].end
    costs = [result.costs for result in results]
    seconds, model_seconds, queries = (
        sum(each[cost] for each in costs) for cost in ("seconds", "model_seconds", "queries")
    )
    total = {
        "fit_seconds": costs[0]["fit_seconds"],
        "seconds_per_row": seconds / n_rows,
        "fit_queries": costs[0]["fit_queries"],
        "queries_per_row": queries / n_rows,
        "own_seconds_per_row": (seconds - model_seconds) / n_rows,
    }
    if job.row_by_row is None:
        # Blocks are single rows.
        rows = costs[:N_ROW_BY_ROW]
        latency = [row["seconds"] for row in rows]
        own_latency = [row["seconds"] - row["model_seconds"] for row in rows]
        max_queries: float | None = max(row["queries"] for row in rows)
    else:
        timed = store.load(job.row_by_row) or BlockResult()
        latency = timed.latencies.get("latency", [])
        own_latency = timed.latencies.get("own_latency", [])
        max_queries = timed.costs.get("most_queries_of_a_row")
    if latency and max_queries is not None:
        total |= {
            "most_queries_of_a_row": max_queries,
            "latency_p50": float(np.quantile(latency, 0.5)),
            "latency_p95": float(np.quantile(latency, 0.95)),
            "own_latency_p50": float(np.quantile(own_latency, 0.5)),
        }
    if all("peak_memory" in each for each in costs):
        total["peak_memory"] = max(each["peak_memory"] for each in costs)
    return total
