"""What is finished of a run, put together: rows, means, and what each explainer cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.results.ranking import rank_explainers
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.run.blocks import Block, BlockStore
from xai_adapters.benchmark.run.scheduler import Dealer, Lane

# So many rows are timed one by one.
N_ALONE = 20


def assemble(results: Results, bench: Bench, dealer: Dealer, store: BlockStore) -> None:
    """Put what is finished together, and measure what needs more than one explainer."""
    explained: dict[str, Explained] = {}
    for name, entry in bench.entries.items():
        run = bench.described(entry)
        results.explainers.append(run)
        lanes = [lane for lane in dealer.lanes if lane.explainer == name]
        if failure := dealer.failure(name):
            run.status, run.reason = failure
        finished = [(lane, blocks) for lane in lanes if (blocks := _finished(lane, store))]
        # One that fails with a seed is not compared, but its rows with the others are kept.
        if not finished:
            continue
        own, found = zip(*finished, strict=True)
        ends = [lane.blocks[len(blocks) - 1].end for lane, blocks in finished]
        run.n_rows = min(ends)
        run.settings |= found[0][0].settings
        each_seed = [_costs(blocks, store, lane) for blocks, lane in zip(found, own, strict=True)]
        costs = {
            cost: float(np.mean([of_seed[cost] for of_seed in each_seed]))
            for cost in each_seed[0]
            if all(cost in of_seed for of_seed in each_seed)
        }
        run.fit_seconds = costs.pop("fit_seconds")
        run.explain_seconds = costs.pop("seconds_per_row") * run.n_rows
        run.costs = costs
        joined = _joined(found, run.n_rows)
        if run.status == "ok":
            cut_short = next((lane.cut_short for lane in own if lane.cut_short), "")
            if cut_short:
                n_rows = len(bench.task.rows)
                run.reason = f"{cut_short}; {run.n_rows} of {n_rows} rows are explained"
            explained[name] = joined
        for metric in results.metrics:
            if metric in joined.values:
                values = joined.values[metric]
                bench.record(results, name, metric, values, of_rows_alone=run.status != "ok")
    bench.finish(results, explained)
    rank_explainers(results)


def _finished(lane: Lane, store: BlockStore) -> list[Block]:
    """The blocks from the first row up to the first that is missing."""
    blocks = []
    for unit in lane.blocks:
        block = store.load(unit)
        if block is None:
            break
        blocks.append(block)
    return blocks


def _joined(of_seeds: Sequence[Sequence[Block]], n_rows: int) -> Explained:
    explanations, values = [], []
    for blocks in of_seeds:
        explanations.append(_cat([block.explanation for block in blocks])[:n_rows])
        values.append(
            {
                metric: _cat([block.values[metric] for block in blocks])[:n_rows]
                for metric in blocks[0].values
            }
        )
    means = {
        metric: torch.stack([each[metric] for each in values]).nanmean(dim=0)
        for metric in values[0]
    }
    return Explained(explanations, means)


def _cat(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.cat([part for part in parts if part is not None])


def _costs(blocks: Sequence[Block], store: BlockStore, lane: Lane) -> dict[str, float]:
    """What one making of an explainer cost: seconds, rows asked, memory."""
    n_rows = lane.blocks[len(blocks) - 1].end

    def total(fact: str) -> float:
        return sum(block.facts[fact] for block in blocks)

    costs = {
        "fit_seconds": blocks[0].facts["fit_seconds"],
        "seconds_per_row": total("seconds") / n_rows,
        "fit_queries": blocks[0].facts["fit_queries"],
        "queries_per_row": total("queries") / n_rows,
        "own_seconds_per_row": (total("seconds") - total("model_seconds")) / n_rows,
    }
    if lane.alone is None:
        alone = list(blocks[:N_ALONE])
        latency = [block.facts["seconds"] for block in alone]
        own = [block.facts["seconds"] - block.facts["model_seconds"] for block in alone]
        most: float | None = max(block.facts["queries"] for block in alone)
    else:
        timed = store.load(lane.alone) or Block()
        latency, own = timed.latencies.get("latency", []), timed.latencies.get("own_latency", [])
        most = timed.facts.get("most_queries_of_a_row")
    if latency and most is not None:
        costs |= {
            "most_queries_of_a_row": most,
            "latency_p50": float(np.quantile(latency, 0.5)),
            "latency_p95": float(np.quantile(latency, 0.95)),
            "own_latency_p50": float(np.quantile(own, 0.5)),
        }
    if all("peak_memory" in block.facts for block in blocks):
        costs["peak_memory"] = max(block.facts["peak_memory"] for block in blocks)
    return costs
