"""Run explainers on a task and measure what they say, in a way that can be gone on with."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xai_adapters.benchmark.metrics.measuring import Measuring
from xai_adapters.benchmark.report.report import render
from xai_adapters.benchmark.results.files import write_results
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.assembly import N_ALONE, assemble
from xai_adapters.benchmark.run.attribution_bench import AttributionBench
from xai_adapters.benchmark.run.bench import Bench
from xai_adapters.benchmark.run.blocks import BlockStore, Unit
from xai_adapters.benchmark.run.counterfactual_bench import CounterfactualBench
from xai_adapters.benchmark.run.environment import environment
from xai_adapters.benchmark.run.processes import do_in_processes
from xai_adapters.benchmark.run.run_folder import RunFolder
from xai_adapters.benchmark.run.scheduler import Dealer, Lane, do_here
from xai_adapters.benchmark.run.settings import LIMITS, Settings, check_jobs, entries_of
from xai_adapters.benchmark.run.worker import Worker
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, require
from xai_adapters.registry import ExplainerEntry


def run_benchmark(
    task: Task,
    explainers: Sequence[str | ExplainerEntry] | None = None,
    *,
    folder: str | Path | RunFolder | None = None,
    resume: bool = False,
    jobs: int | None = None,
    show_progress: bool = False,
    description: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Results:
    """Let explainers explain a task's rows, and measure them.

    Each explainer gets a copy of the model and random states of its own, and explains the class
    that the model gives each row. One that raises is recorded with its error, and the others go on.

    On a CPU the numbers depend on the settings alone: not on the number of jobs, nor on how often
    the run was interrupted and resumed. Seconds do: explainers that run side by side slow one
    another down.

    Args:
        task: model and rows.
        explainers: registered names, references "module:function" to a maker or an
            `ExplainerEntry`, or such entries; by default all of the kind that the task compares.
        folder: where the results are written, and where what is finished is kept until then; by
            default nothing is written.
        resume: go on with the unfinished run in the folder, if there is one; the limits may then
            be others.
        jobs: processes that explain, in which an explainer that does not come to an end is ended
            after its time limit. By default it is done in this process, where it is waited for.
        show_progress: show a bar on standard error.
        description: of how model and rows were made, for `results.json`.
        **settings: those of `Settings`: `seed`, `n_seeds`, `block_size`, `time_limit`, `fit_limit`,
            `threads`, `metrics`, `fills`.

    Raises:
        UnknownNameError: for an explainer that is not registered, before any work is done.
        InvalidInputError: for no explainers, for explainers of the other kind, or for a setting
            that cannot be used.
        PredictorError: if the model cannot be asked about the rows.
        ResultsFolderError: if the folder cannot be written, is in use, or holds an unfinished run
            that is not resumed, or another one than is resumed.
    """
    entries = entries_of(explainers, task.compares)
    chosen = Settings(**settings)
    check_jobs(jobs)
    if isinstance(folder, str | Path):
        with RunFolder(Path(folder)) as opened:
            return _run(task, entries, chosen, opened, resume, jobs, show_progress, description)
    return _run(task, entries, chosen, folder, resume, jobs, show_progress, description)


def _run(
    task: Task,
    entries: Sequence[ExplainerEntry],
    settings: Settings,
    folder: RunFolder | None,
    resume: bool,
    jobs: int | None,
    show_progress: bool,
    description: Mapping[str, Any] | None,
) -> Results:
    n_threads = settings.threads or torch.get_num_threads()
    with _threads(n_threads):
        bench = _bench(task, entries, settings)
        plan = {
            "settings": settings.to_dict(entries) | {"threads": n_threads},
            "description": dict(description or {}),
            "fingerprint": _fingerprint(bench),
        }
        if folder is not None:
            folder.take_up(plan, resume=resume, free=LIMITS)
        place = nullcontext() if folder else tempfile.TemporaryDirectory(prefix="xai_adapters-")
        with place as temporary:
            store = folder.blocks if folder else BlockStore(Path(str(temporary)))
            results = _results(bench, plan, jobs)
            lanes = _lanes(bench, settings)
            dealer = _deal(lanes, bench, store, settings, jobs, n_threads, show_progress)
            assemble(results, bench, dealer, store)
        if folder is not None:
            write_results(results, folder.path, render(results))
            folder.finish()
    return results


def _bench(task: Task, entries: Sequence[ExplainerEntry], settings: Settings) -> Bench:
    if task.compares == "attribution":
        measuring = Measuring(settings.metrics, settings.fills, task)
        return AttributionBench(task, entries, settings.seed, measuring)
    if settings.metrics is not None or settings.fills:
        raise InvalidInputError("counterfactuals are measured by all there is: name no metrics")
    return CounterfactualBench(task, entries, settings.seed)


def _results(bench: Bench, plan: Mapping[str, Any], jobs: int | None) -> Results:
    task = bench.task
    return Results(
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
            **plan["settings"],
            "jobs": jobs or 1,
            "device": str(task.rows.device),
            **plan["description"],
        },
        environment=environment(),
        metrics={name: dataclasses.asdict(facts) for name, facts in bench.metrics().items()},
    )


def _fingerprint(bench: Bench) -> dict[str, Any]:
    """What has to be the same for finished blocks to be worth anything."""
    answers = np.ascontiguousarray(bench.probabilities.cpu().numpy())
    return {
        "rows": bench.task.data_hash(),
        "the model's answers": hashlib.sha256(answers.tobytes()).hexdigest(),
        "versions": environment()["versions"],
    }


def _lanes(bench: Bench, settings: Settings) -> list[Lane]:
    """For every explainer and seed the units that make it up."""
    n = len(bench.task.rows)
    found = []
    for entry in bench.entries.values():
        size = min(entry.block_size or n, settings.block_size or n)
        for seed in settings.seeds:
            starts = range(0, n, size)
            blocks = [Unit(entry.name, seed, at, min(at + size, n)) for at in starts]
            # Rows that are asked about one by one anyway need no further call to be timed.
            alone = None if size == 1 else Unit(entry.name, seed, 0, min(n, N_ALONE), alone=True)
            found.append(Lane(entry.name, seed, blocks, alone))
    return found


def _deal(
    lanes: Sequence[Lane],
    bench: Bench,
    store: BlockStore,
    settings: Settings,
    jobs: int | None,
    n_threads: int,
    show_progress: bool,
) -> Dealer:
    """Do what is not finished yet."""
    n_rows = len(lanes) * len(bench.task.rows)
    tqdm = require("tqdm", "benchmark").tqdm
    with tqdm(total=n_rows, unit="row", disable=not show_progress, leave=False) as bar:

        def on_done(unit: Unit) -> None:
            bar.set_postfix_str(unit.explainer, refresh=False)
            bar.update(unit.n_rows)

        dealer = Dealer(lanes, settings.time_limit, settings.fit_limit, on_done)
        for lane in dealer.lanes:
            for unit in list(lane.pending):
                block = store.load(unit)
                if block is not None:
                    lane.pending.remove(unit)
                    dealer.done(lane, unit, block.facts)
        if jobs is None:
            do_here(dealer, Worker(bench, store))
        else:
            do_in_processes(dealer, bench, store, jobs, n_threads)
    return dealer


@contextmanager
def _threads(n: int) -> Any:
    """So many threads for torch, whose sums differ in the last digit with their number."""
    before = torch.get_num_threads()
    # Not set to what it is: the call alone takes time.
    if n != before:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        if n != before:
            torch.set_num_threads(before)
