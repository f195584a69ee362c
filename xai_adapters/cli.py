"""The command line: `xai-adapters benchmark`, `axioms` and `list`."""

# No "from __future__ import annotations": typer is imported late, so that a missing one can be
# named, and annotations that mention it must be read where it is known.

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from xai_adapters import __version__
from xai_adapters.errors import UnknownNameError, XaiAdaptersError, require


def main() -> None:
    """Run the command line; our own errors end it in one line and with exit code 2."""
    try:
        _application()()
    except XaiAdaptersError as error:
        print(f"xai-adapters: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _application() -> Any:
    typer = require("typer", "benchmark")
    application = typer.Typer(
        help="Explainers, and a benchmark that compares them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    application.command("benchmark")(_benchmark_command(typer))
    application.command("axioms")(_axioms_command(typer))
    application.command("list")(_list_command(typer))

    @application.callback(invoke_without_command=True)
    def version(
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            print(__version__)
            raise typer.Exit

    return application


def _benchmark_command(typer: Any) -> Any:
    def benchmark(
        task: Annotated[str, typer.Argument(help="One of `xai-adapters list tasks`.")],
        explainers: Annotated[
            str | None, typer.Option(help="Names, separated by commas; all by default.")
        ] = None,
        limit: Annotated[int | None, typer.Option(help="Rows to explain at most.")] = None,
        out: Annotated[
            Path | None, typer.Option(help="Folder for the results; default: xai-results/TASK.")
        ] = None,
        seed: Annotated[int, typer.Option(help="Of task and explainers.")] = 0,
        device: Annotated[str, typer.Option(help="Where models and rows are.")] = "cpu",
        mask_value: Annotated[
            float | None, typer.Option(help="What a masked pixel is set to; 0.5 (gray) by default.")
        ] = None,
        time_limit: Annotated[
            float, typer.Option(help="Seconds after which an explainer gets no further rows.")
        ] = 300.0,
        model: Annotated[
            str | None,
            typer.Option(help="Of a counterfactual task: forest, boosting, mlp, tree or linear."),
        ] = None,
        seeds: Annotated[
            int, typer.Option(help="How often each counterfactual explainer is made and asked.")
        ] = 1,
    ) -> None:
        """Compare explainers on a task: a table, results.json, rows.parquet, report.html."""
        from rich.console import Console

        from xai_adapters.benchmark.output import prepare_folder, write_results
        from xai_adapters.benchmark.runner import check_request, run_benchmark
        from xai_adapters.benchmark.table import print_table
        from xai_adapters.benchmark.tasks import load_task, task_entry

        names = None
        if explainers is not None:
            names = [name.strip() for name in explainers.split(",") if name.strip()]
        # Told now, before a model is trained.
        check_request(task_entry(task).compares, names, time_limit, seeds)
        folder = out or Path("xai-results") / task
        loaded = load_task(task, limit=limit, seed=seed, device=device, progress=True, model=model)
        if mask_value is not None:
            loaded = replace(loaded, mask_value=mask_value)
        prepare_folder(folder)
        results = run_benchmark(
            loaded,
            names,
            seed=seed,
            n_seeds=seeds,
            time_limit=time_limit,
            show_progress=True,
        )
        report = write_results(results, folder)
        console = Console()
        print_table(results, console)
        console.print(f"report: {report.resolve()}", soft_wrap=True, highlight=False)

    return benchmark


def _axioms_command(typer: Any) -> Any:
    def axioms(
        explainers: Annotated[
            list[str] | None,
            typer.Argument(
                help="Registered names, or MODULE:FACTORY; all registered explainers by default."
            ),
        ] = None,
        only: Annotated[
            str | None, typer.Option("--axioms", help="Names, separated by commas; all by default.")
        ] = None,
        max_examples: Annotated[int, typer.Option(help="Cases tried for each axiom.")] = 100,
        budget: Annotated[
            float, typer.Option(help="Seconds after which a check tries no further case.")
        ] = 1.0,
        timeout: Annotated[float, typer.Option(help="Seconds after which a check is ended.")] = 60,
        processes: Annotated[int, typer.Option(help="Explainers checked at once.")] = 1,
        seed: Annotated[int, typer.Option(help="Of the cases.")] = 0,
        out: Annotated[
            Path | None, typer.Option(help="JSON file for a record of every check.")
        ] = None,
    ) -> None:
        """Check explainers against the axioms they claim; exit code 1 if one is broken."""
        from rich.console import Console

        from xai_adapters.axioms import AXIOMS
        from xai_adapters.axioms.matrix import check_matrix, print_matrix, write_records
        from xai_adapters.registry import explainer_names

        names = list(AXIOMS)
        if only is not None:
            names = [name.strip() for name in only.split(",") if name.strip()]
        references = explainers or explainer_names()
        # As `python -m` does it: MODULE may be of the project in this folder.
        sys.path.insert(0, str(Path.cwd()))
        with _bar(len(references) * len(names)) as bar:
            records = check_matrix(
                references,
                names,
                max_examples=max_examples,
                budget=budget,
                timeout=timeout,
                seed=seed,
                n_processes=processes,
                on_record=lambda record: bar.update(),
            )
        print_matrix(records, Console())
        if out is not None:
            write_records([record.as_dict() for record in records], out)
        if any(record.failed for record in records):
            raise typer.Exit(1)

    return axioms


def _bar(total: int) -> Any:
    return require("tqdm", "axioms").tqdm(total=total, unit="check", leave=False)


def _list_command(typer: Any) -> Any:
    def list_names(
        what: Annotated[str, typer.Argument(help="tasks, explainers, metrics or axioms")],
    ) -> None:
        """List what can be named."""
        listings = {
            "tasks": _tasks, "explainers": _explainers, "metrics": _metrics, "axioms": _axioms,
        }  # fmt: skip
        if what not in listings:
            raise UnknownNameError("list", what, listings)
        lines = listings[what]()
        width = max(len(name) for name, _ in lines)
        for name, description in lines:
            print(f"{name:{width}}  {description}")

    return list_names


def _tasks() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.tasks import TASKS

    return [(name, entry.description) for name, entry in TASKS.items()]


def _explainers() -> list[tuple[str, str]]:
    from xai_adapters.registry import explainer_entry, explainer_names

    return [(name, explainer_entry(name).summary) for name in explainer_names()]


def _metrics() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.metrics import METRICS

    return [(name, metric.description) for name, metric in METRICS.items()]


def _axioms() -> list[tuple[str, str]]:
    from xai_adapters.axioms import AXIOMS

    return [(name, axiom.statement) for name, axiom in AXIOMS.items()]
