"""Run explainers on a task and measure what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xai_adapters.benchmark.attribution_bench import AttributionBench
from xai_adapters.benchmark.bench import Bench, model_batch
from xai_adapters.benchmark.counterfactual_bench import CounterfactualBench
from xai_adapters.benchmark.environment import environment
from xai_adapters.benchmark.metrics import METRICS
from xai_adapters.benchmark.results import Results
from xai_adapters.benchmark.task import Comparison, Task
from xai_adapters.core.black_box import BlackBox
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import ExplainerEntry, explainer_entry, explainer_names


def run_benchmark(
    task: Task,
    explainers: Sequence[str] | None = None,
    *,
    seed: int = 0,
    n_seeds: int = 1,
    time_limit: float = 300.0,
    show_progress: bool = False,
) -> Results:
    """Let explainers explain a task's rows, and measure them.

    Each explainer gets a copy of the model and a random state of its own, and explains the class
    that the model gives each row. One that raises is recorded with its error, and the others go on.

    Args:
        task: model and rows.
        explainers: registered names; by default all of the kind that the task compares.
        seed: of the explainers and of the order among ties.
        n_seeds: how often each counterfactual explainer is made and asked, with `seed` and the
            numbers after it; attributions are made once.
        time_limit: seconds after which an explainer gets no further block of rows; it is measured
            on the rows it finished.
        show_progress: show bars on standard error.

    Raises:
        UnknownNameError: for an explainer that is not registered, before any work is done.
        InvalidInputError: for no explainers, for explainers of the other kind, or for a time limit
            or a number of seeds that is not positive.
    """
    entries = check_request(task.compares, explainers, time_limit, n_seeds)
    black_box = BlackBox(task.model, batch_size=model_batch(task))
    results = Results(
        task={
            "name": task.name,
            "description": task.description,
            "kind": task.kind,
            "compares": task.compares,
            "n_rows": len(task.rows),
            "row_shape": list(task.rows.shape[1:]),
            "mask_value": task.mask_value,
            "feature_names": list(task.feature_names),
            "data_hash": task.data_hash(),
            "facts": dict(task.facts),
        },
        settings={
            "explainers": [entry.name for entry in entries],
            "seed": seed,
            "n_seeds": n_seeds,
            "time_limit": time_limit,
            "device": str(task.rows.device),
        },
        environment=environment(),
        metrics={name: dataclasses.asdict(metric) for name, metric in METRICS.items()},
    )
    bench: Bench
    shared = (task, black_box, results, seed, time_limit, show_progress)
    if task.compares == "counterfactual":
        bench = CounterfactualBench(*shared, n_seeds=n_seeds)
    else:
        bench = AttributionBench(*shared)
    for entry in entries:
        bench.run(entry)
    bench.finish()
    return results


def check_request(
    compares: Comparison, explainers: Sequence[str] | None, time_limit: float, n_seeds: int = 1
) -> list[ExplainerEntry]:
    """The explainers asked for, each once; raises what `run_benchmark` would."""
    names = explainer_names(compares) if explainers is None else explainers
    entries = [explainer_entry(name) for name in dict.fromkeys(names)]
    if not entries:
        raise InvalidInputError("no explainers were named; leave them out to compare all")
    for entry in entries:
        if entry.kind != compares:
            raise InvalidInputError(
                f"{entry.name} makes {entry.kind}s, and this task compares {compares}s: "
                f"{', '.join(explainer_names(compares))}"
            )
    if time_limit <= 0:
        raise InvalidInputError(f"the time limit must be positive; it is {time_limit} seconds")
    if n_seeds < 1:
        raise InvalidInputError(f"at least one seed is needed, not {n_seeds}")
    return entries
