"""Run explainers on a task and measure their answers; interrupted runs can be resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typing_extensions import Unpack

from xai_adapters.benchmark.metrics.selection import MetricSelection
from xai_adapters.benchmark.report.report import render
from xai_adapters.benchmark.results.files import write_results
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.assembly import N_ROW_BY_ROW, assemble
from xai_adapters.benchmark.run.attribution_bench import AttributionBench
from xai_adapters.benchmark.run.bench import Bench
from xai_adapters.benchmark.run.blocks import Block, BlockStore
from xai_adapters.benchmark.run.counterfactual_bench import CounterfactualBench
from xai_adapters.benchmark.run.environment import describe_environment
from xai_adapters.benchmark.run.options import CHANGEABLE, RunKeywords, RunOptions
from xai_adapters.benchmark.run.processes import run_in_processes
from xai_adapters.benchmark.run.run_folder import RunFolder
from xai_adapters.benchmark.run.scheduler import Job, Scheduler, run_here
from xai_adapters.benchmark.run.selection import select_explainers
from xai_adapters.benchmark.run.worker import Worker
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, require
from xai_adapters.registry import ExplainerEntry
from xai_adapters.utils.options import named_options


@named_options(RunOptions)
def run_benchmark(
    task: Task,
    explainers: Sequence[str | ExplainerEntry] | None = None,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    show_progress: bool = False,
    **options: Unpack[RunKeywords],
) -> Results:
    """Compare explainers on the rows of a task.

    Each explainer gets its own copy of the model and its own random state, and explains the class
    that the model predicts for each row. Explainers that fail stay in the results, with their
    error.

    On a CPU the numbers depend on the options alone: neither on the number of jobs nor on how often
    the run was interrupted and resumed. Timings do, because explainers that run side by side slow
    one another down.

    Args:
        task: model and rows.
        explainers: registered names, references "module:function" to a maker or an
            `ExplainerEntry`, or entries; by default all of the kind that the task compares.
        folder: where results are written, and finished blocks kept until then; by default nothing
            is written.
        resume: resume the unfinished run in the folder, if there is one. `jobs`, `time_limit` and
            `fit_limit` may then have other values.
        show_progress: show a progress bar on standard error.
        seed: seed of the explainers, of the order of ties and of the bootstrap.
        seeds: how often each explainer is made and run, with `seed` and the numbers after it; the
            values of a row are averaged.
        metrics: of attributions, names of `xai-adapters list metrics` or "quantus:Name"; by default
            those that are cheap to compute.
        fills: fills of masked pixels beside the task's own: "gray", "black", "white", "mean",
            "blur".
        block_size: largest number of rows given to an explainer at once.
        time_limit: seconds an explainer may spend explaining. It then gets no further block, and a
            worker process still busy with one is ended; it is measured on the rows it finished.
        fit_limit: seconds after which a worker process is ended that is still fitting an explainer
            or measuring a block.
        jobs: worker processes. By default everything runs in this process, where nothing can be
            ended.
        threads: torch's threads in each process; by default torch's own setting.

    Returns:
        Every mean with its interval, every row's value, and what each explainer cost.

    Raises:
        UnknownNameError: for an explainer that is not registered, before any work is done.
        InvalidInputError: for no explainers, explainers of the other kind, or an option out of
            range.
        PredictorError: if the model fails on the rows.
        ResultsFolderError: if the folder cannot be written, is in use, or holds an unfinished run
            that is not resumed or was started with other options.
    """
    chosen = RunOptions.parse(options)
    opened = nullcontext() if folder is None else RunFolder(Path(folder))
    with opened as run_folder:
        return run_with_options(
            task, explainers, chosen, run_folder, resume=resume, show_progress=show_progress
        )


def run_with_options(
    task: Task,
    explainers: Sequence[str | ExplainerEntry] | None,
    options: RunOptions,
    folder: RunFolder | None = None,
    *,
    resume: bool = False,
    show_progress: bool = False,
) -> Results:
    """`run_benchmark` with the options in one object and a folder that is open already."""
    entries = select_explainers(explainers, task.compares)
    n_threads = options.threads or torch.get_num_threads()
    options = options.replaced({"threads": n_threads})
    with torch_threads(n_threads):
        bench = _bench(task, entries, options)
        plan = {
            # As they were named: references can be resolved again.
            "options": options.to_dict() | {"explainers": _names(explainers, entries)},
            "fingerprint": _fingerprint(bench),
        }
        if folder is not None:
            folder.take_up(plan, resume=resume, free=CHANGEABLE)
        place = nullcontext() if folder else tempfile.TemporaryDirectory(prefix="xai_adapters-")
        with place as temporary:
            store = folder.blocks if folder else BlockStore(Path(str(temporary)))
            results = _results(bench, plan["options"])
            scheduler = _work(_jobs(bench, options), bench, store, options, show_progress)
            assemble(results, bench, scheduler, store)
        if folder is not None:
            write_results(results, folder.path, render(results))
            folder.finish()
    return results


def _names(
    explainers: Sequence[str | ExplainerEntry] | None, entries: Sequence[ExplainerEntry]
) -> list[str]:
    named = entries if explainers is None else explainers
    return list(dict.fromkeys(each if isinstance(each, str) else each.name for each in named))


def _bench(task: Task, entries: Sequence[ExplainerEntry], options: RunOptions) -> Bench:
    if task.compares == "attribution":
        selection = MetricSelection(options.metrics, options.fills, task)
        return AttributionBench(task, entries, options.seed, selection)
    if options.metrics is not None or options.fills:
        raise InvalidInputError("counterfactuals are measured by all there is: name no metrics")
    return CounterfactualBench(task, entries, options.seed)


def _results(bench: Bench, options: Mapping[str, Any]) -> Results:
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
            **options,
            "jobs": options["jobs"] or 1,
            "device": str(task.rows.device),
        },
        environment=describe_environment(),
        metrics={name: dataclasses.asdict(facts) for name, facts in bench.metrics().items()},
    )


def _fingerprint(bench: Bench) -> dict[str, Any]:
    """What has to be the same for finished blocks to be worth anything."""
    answers = np.ascontiguousarray(bench.probabilities.cpu().numpy())
    return {
        "rows": bench.task.data_hash(),
        "the model's answers": hashlib.sha256(answers.tobytes()).hexdigest(),
        "versions": describe_environment()["versions"],
    }


def _jobs(bench: Bench, options: RunOptions) -> list[Job]:
    """A job for each explainer and seed."""
    n = len(bench.task.rows)
    jobs = []
    for entry in bench.entries.values():
        size = min(entry.block_size or n, options.block_size or n)
        for seed in range(options.seed, options.seed + options.seeds):
            starts = range(0, n, size)
            blocks = [Block(entry.name, seed, at, min(at + size, n)) for at in starts]
            # Blocks of a single row give latencies themselves.
            row_by_row = (
                None if size == 1 else Block(entry.name, seed, 0, min(n, N_ROW_BY_ROW), True)
            )
            jobs.append(Job(entry.name, seed, blocks, row_by_row))
    return jobs


def _work(
    jobs: Sequence[Job],
    bench: Bench,
    store: BlockStore,
    options: RunOptions,
    show_progress: bool,
) -> Scheduler:
    """Do all blocks that are not finished yet."""
    n_rows = len(jobs) * len(bench.task.rows)
    tqdm = require("tqdm", "benchmark").tqdm
    with tqdm(total=n_rows, unit="row", disable=not show_progress, leave=False) as bar:

        def on_done(block: Block) -> None:
            bar.set_postfix_str(block.explainer, refresh=False)
            bar.update(block.n_rows)

        scheduler = Scheduler(jobs, options.time_limit, options.fit_limit, on_done)
        for job in jobs:
            for block in list(job.pending):
                result = store.load(block)
                if result is not None:
                    job.pending.remove(block)
                    scheduler.done(job, block, result.costs)
        if options.jobs is None:
            run_here(scheduler, Worker(bench, store))
        else:
            assert options.threads is not None
            run_in_processes(scheduler, bench, store, options.jobs, options.threads)
    return scheduler


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use n threads; the last digit of its sums depends on their number."""
    before = torch.get_num_threads()
    # Setting the number it has already would still take time.
    if n != before:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        if n != before:
            torch.set_num_threads(before)
