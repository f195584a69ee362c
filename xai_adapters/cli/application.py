"""The command line: `xai-adapters benchmark`, `axioms` and `list`."""

# No "from __future__ import annotations": typer is imported late, so that a missing one can be
# named, and annotations that mention it must be read where it is known.

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from xai_adapters import __version__
from xai_adapters.errors import InvalidInputError, UnknownNameError, XaiAdaptersError, require


def main() -> None:
    """Run the command line; our own errors end it in one line and with exit code 2."""
    try:
        with _told():
            _application()()
    except XaiAdaptersError as error:
        print(f"xai-adapters: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@contextmanager
def _told() -> Iterator[None]:
    """Warnings in a line of their own, without the code they come from."""
    with warnings.catch_warnings():
        # A model's columns are taken by name, and handed on in its order.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        warnings.showwarning = lambda message, *_, **__: print(
            f"xai-adapters: {message}", file=sys.stderr
        )
        yield


def _application() -> Any:
    typer = require("typer", "benchmark")
    application = typer.Typer(
        help="Explainers, and a benchmark that compares them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    application.command("benchmark")(_benchmark_command(typer))
    application.command("compare")(_compare_command(typer))
    application.command("report")(_report_command(typer))
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
        task: Annotated[
            str | None,
            typer.Argument(
                help="One of `xai-adapters list tasks`, or MODULE:FUNCTION that returns a Task."
            ),
        ] = None,
        explainers: Annotated[
            str | None,
            typer.Option(help="Names or MODULE:MAKER, separated by commas; all by default."),
        ] = None,
        model: Annotated[
            str | None,
            typer.Option(
                help="Of a counterfactual task: forest, boosting, mlp, tree or linear. Without a "
                "task MODULE:FUNCTION that makes a model, or MODULE:MODEL."
            ),
        ] = None,
        data: Annotated[
            str | None, typer.Option(help="Rows for that model: an .npz or .parquet file.")
        ] = None,
        background: Annotated[
            str | None, typer.Option(help="Rows that explainers are fitted to, in such a file.")
        ] = None,
        counterfactuals: Annotated[
            bool | None,
            typer.Option(
                "--counterfactuals", help="Of that table compare counterfactuals, not attributions."
            ),
        ] = None,
        immutable: Annotated[
            str | None,
            typer.Option(help="Then, features that may not change, separated by commas."),
        ] = None,
        categories: Annotated[
            str | None,
            typer.Option(
                help="Then, features that are categories though they hold numbers: columns of "
                "codes, or what the names of one-hot columns begin with."
            ),
        ] = None,
        config: Annotated[
            Path | None,
            typer.Option(help="TOML or YAML file that describes the run; flags go before it."),
        ] = None,
        resume: Annotated[
            Path | None, typer.Option(help="Go on with the unfinished run in this folder.")
        ] = None,
        limit: Annotated[int | None, typer.Option(help="Rows to explain at most.")] = None,
        out: Annotated[
            Path | None, typer.Option(help="Folder for the results; default: xai-results/TASK.")
        ] = None,
        jobs: Annotated[
            int | None,
            typer.Option(help="Processes that explain; 1, with which seconds are honest."),
        ] = None,
        threads: Annotated[
            int | None, typer.Option(help="torch's, in each process; 1 by default.")
        ] = None,
        seed: Annotated[int | None, typer.Option(help="Of task and explainers; 0.")] = None,
        seeds: Annotated[
            int | None, typer.Option(help="How often each explainer is made and asked; 1.")
        ] = None,
        block_size: Annotated[
            int | None, typer.Option(help="Rows given to an explainer at once, at most.")
        ] = None,
        device: Annotated[str | None, typer.Option(help="Of models and rows; cpu.")] = None,
        mask_value: Annotated[
            float | None, typer.Option(help="What a masked pixel is set to; 0.5 (gray) by default.")
        ] = None,
        metrics: Annotated[
            str | None,
            typer.Option(
                help="Of attributions, separated by commas: names of `xai-adapters list metrics`, "
                "or quantus:NAME."
            ),
        ] = None,
        fills: Annotated[
            str | None,
            typer.Option(help="gray, black, white, mean, blur: masks beside the task's own."),
        ] = None,
        time_limit: Annotated[
            float | None,
            typer.Option(
                help="Seconds an explainer may explain: it then gets no further rows, and one that "
                "is still at some is ended; 300."
            ),
        ] = None,
        fit_limit: Annotated[
            float | None,
            typer.Option(help="Seconds after which one is ended that is still being fitted; 1800."),
        ] = None,
    ) -> None:
        """Compare explainers on a task: a table, results.json, rows.parquet, report.html.

        A run that was interrupted, or killed, is gone on with by --resume FOLDER.
        """
        from xai_adapters.benchmark.run.request import Request
        from xai_adapters.benchmark.run.settings import LIMITS
        from xai_adapters.cli.benchmark import begin, go_on

        flags = {
            "task": task, "explainers": _names(explainers), "metrics": _names(metrics),
            "fills": _names(fills), "model": model, "data": data,
            "counterfactuals": counterfactuals, "immutable": _names(immutable),
            "categories": _names(categories), "background": background, "limit": limit,
            "threads": threads, "seed": seed, "seeds": seeds, "block_size": block_size,
            "device": device, "mask_value": mask_value,
            "time_limit": time_limit, "fit_limit": fit_limit,
        }  # fmt: skip
        # As `python -m` does it: MODULE may be of the project in this folder.
        sys.path.insert(0, str(Path.cwd()))
        if resume is None:
            request = Request.read(config) if config else Request()
            begin(request.overridden(flags), out, jobs)
            return
        given = {name: value for name, value in flags.items() if value is not None}
        others = [name for name in given if name not in LIMITS]
        if others or config or out:
            raise InvalidInputError(
                "a run is gone on with as it was begun; beside --resume only --jobs and the limits "
                f"of time can be given, not {', '.join(others) or '--config or --out'}"
            )
        go_on(resume, jobs, given)

    return benchmark


def _names(text: str | None) -> tuple[str, ...] | None:
    """What a flag lists, separated by commas."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _compare_command(typer: Any) -> Any:
    def compare(
        before: Annotated[Path, typer.Argument(help="Folder of the first run.")],
        after: Annotated[Path, typer.Argument(help="Folder of the second run.")],
        fail_on: Annotated[
            str | None,
            typer.Option(
                help="regress: exit code 1 if something got worse, or an explainer fails now."
            ),
        ] = None,
    ) -> None:
        """Print what changed between two runs beyond noise, row by row if the rows are the same."""
        from rich.console import Console

        from xai_adapters.benchmark.results.compare import compare, print_comparison
        from xai_adapters.benchmark.results.files import read_results

        if fail_on not in (None, "regress"):
            raise UnknownNameError("reason to fail", fail_on, ["regress"])
        comparison = compare(read_results(before), read_results(after))
        print_comparison(comparison, Console())
        if fail_on and comparison.regressed:
            raise typer.Exit(1)

    return compare


def _report_command(typer: Any) -> Any:
    def report(
        folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
        format: Annotated[str, typer.Option(help="html, md or csv.")] = "html",
        out: Annotated[Path | None, typer.Option(help="File; md and csv are printed.")] = None,
        axioms: Annotated[
            Path | None,
            typer.Option(help="What `xai-adapters axioms --out` wrote, to be shown in the HTML."),
        ] = None,
    ) -> None:
        """Write the report of a run anew, or its table as markdown or CSV."""
        from xai_adapters.benchmark.report.axiom_table import read_axioms
        from xai_adapters.benchmark.report.report import WRITERS, render
        from xai_adapters.benchmark.results.files import read_results
        from xai_adapters.utils.files import replace_file

        if format not in WRITERS:
            raise UnknownNameError("format", format, WRITERS)
        results, write = read_results(folder), WRITERS[format]
        if axioms is not None:
            if format != "html":
                raise InvalidInputError("axioms are shown in the HTML only; leave --format out")
            write = partial(render, axioms=read_axioms(axioms))
        text = write(results)
        path = out or (folder / "report.html" if format == "html" else None)
        if path is None:
            print(text, end="")
        else:
            replace_file(path, lambda draft: draft.write_text(text, encoding="utf-8"))

    return report


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
        from xai_adapters.axioms.fronts.matrix import check_matrix, print_matrix, write_records
        from xai_adapters.registry import explainer_entries

        names = list(AXIOMS if only is None else _names(only) or ())
        references = explainers or [entry.name for entry in explainer_entries()]
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
        lines, newline = listings[what](), "\n"
        width = max(len(name) for name, _ in lines)
        for name, description in lines:
            print(f"{name:{width}}  {description.replace(newline, newline + ' ' * (width + 2))}")

    return list_names


def _tasks() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.tasks.named import TASKS

    return [(name, entry.description) for name, entry in TASKS.items()]


def _explainers() -> list[tuple[str, str]]:
    from xai_adapters.registry import explainer_entries

    return [(entry.name, entry.summary) for entry in explainer_entries()]


def _metrics() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.metrics.facts import METRICS
    from xai_adapters.benchmark.metrics.measures import MEASURES

    of = {metric: name for name, measure in MEASURES.items() for metric in measure.metrics}
    directions = {True: "higher is better", False: "lower is better", None: "no better end"}
    lines = []
    for name, metric in METRICS.items():
        low, high = ("no end" if end is None else f"{end:g}" for end in metric.range)
        facts = [
            directions[metric.higher_is_better],
            f"from {low} to {high}",
            f"of {', '.join(metric.inputs)}",
            metric.source,
            *([f"--metrics {of[name]}"] if name in of else []),
        ]
        lines.append((name, f"{metric.description}\n{'; '.join(facts)}"))
    quantus = "A metric of Quantus by its name, as in quantus:Sparseness."
    return [*lines, ("quantus:NAME", f"{quantus}\n--metrics quantus:NAME")]


def _axioms() -> list[tuple[str, str]]:
    from xai_adapters.axioms import AXIOMS

    return [(name, axiom.statement) for name, axiom in AXIOMS.items()]
