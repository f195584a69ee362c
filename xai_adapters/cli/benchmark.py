"""`xai-adapters benchmark`: start a run, or resume one."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from xai_adapters.benchmark.report.terminal_table import print_table
from xai_adapters.benchmark.results.files import REPORT, SUMMARY, check_writers
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.description import RunDescription
from xai_adapters.benchmark.run.options import CHANGEABLE, RunOptions
from xai_adapters.benchmark.run.processes import HandOverError
from xai_adapters.benchmark.run.run_folder import RunFolder
from xai_adapters.benchmark.run.runner import run_with_options
from xai_adapters.cli.flags import given, parameters
from xai_adapters.errors import InvalidInputError, ResultsFolderError, UnknownNameError

_OWN_FLAGS = {
    "out": Annotated[
        Path | None,
        typer.Option(help="Folder of the results. Default: xai-results/TASK.", show_default=False),
    ],
    "resume": Annotated[
        Path | None,
        typer.Option(help="Resume the unfinished run in this folder.", show_default=False),
    ],
    "config": Annotated[
        Path | None,
        typer.Option(
            help="TOML or YAML file with any of these options; flags override it.",
            show_default=False,
        ),
    ],
}


def command() -> Callable[..., None]:
    """The command, with a flag for each option of a run."""
    flags = parameters(RunDescription, arguments=("task",))
    own = {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )
        for name, annotation in _OWN_FLAGS.items()
    }
    # What is compared first, then how.
    of_all_runs = RunOptions.model_fields
    options = {
        **{name: flag for name, flag in flags.items() if name not in of_all_runs},
        **own,
        **{name: flag for name, flag in flags.items() if name in of_all_runs},
    }

    def benchmark(out: Path | None, resume: Path | None, config: Path | None, **flags: Any) -> None:
        """Compare explainers on a task.

        Prints a table and writes results.json, rows.parquet and report.html. Interrupted runs can
        be resumed with --resume FOLDER.
        """
        # As `python -m` does it: MODULE may belong to the project in this folder.
        sys.path.insert(0, str(Path.cwd()))
        values = given(flags, RunDescription)
        if resume is None:
            described = RunDescription.read(config) if config else RunDescription()
            start(described.replaced(values), out)
            return
        others = [name for name in values if name not in CHANGEABLE]
        if others or config or out:
            raise InvalidInputError(
                "a run is resumed with the options it was started with; beside --resume only "
                "--jobs, --time-limit and --fit-limit can be given, not "
                f"{', '.join(others) or '--config or --out'}"
            )
        resume_run(resume, values)

    signature = inspect.Signature(list(options.values()))
    benchmark.__signature__ = signature  # type: ignore[attr-defined]
    benchmark.__annotations__ = {name: each.annotation for name, each in options.items()}
    return benchmark


def start(described: RunDescription, out: Path | None) -> None:
    """Start a run, and print its table and where its report is.

    The exit code is 1 if no explainer could be compared.

    Raises:
        XaiAdaptersError: for what cannot be used, if possible before a model is trained.
    """
    described.check()
    check_writers()
    with RunFolder(out or described.folder) as folder:
        folder.check_free()
        if (folder.path / SUMMARY).exists():
            warnings.warn(
                f"the results in '{folder.path}' will be replaced when this run is finished",
                stacklevel=2,
            )
        _run(described, folder, resume=False)


def resume_run(path: Path, changes: Mapping[str, Any]) -> None:
    """Resume the unfinished run in a folder; nothing happens if it is finished.

    Args:
        path: the folder.
        changes: values of `CHANGEABLE` options from now on.

    Raises:
        ResultsFolderError: if there is no run in the folder.
    """
    if not (path / "unfinished").exists() and (path / REPORT).exists():
        _print_report_path(path)
        return
    check_writers()
    if not path.is_dir():
        raise ResultsFolderError(f"cannot resume: there is no folder '{path}'")
    with RunFolder(path) as folder:
        plan = folder.plan()
        if plan is None:
            raise ResultsFolderError(f"there is no unfinished run in folder '{path}'")
        described = _description(plan, folder)
        if described.jobs == 1:
            # As where nothing is said: in this process if the model cannot be copied to another.
            described = described.model_copy(update={"jobs": None})
        _run(described.replaced(changes), folder, resume=True)


def _description(plan: Mapping[str, Any], folder: RunFolder) -> RunDescription:
    options = plan.get("options", {})
    if "task" not in options:
        raise ResultsFolderError(
            "the unfinished run was started from Python; resume it from there, with "
            "run_benchmark(..., resume=True)"
        )
    try:
        return RunDescription.parse(options, "its plan")
    except (InvalidInputError, UnknownNameError) as error:
        raise ResultsFolderError(
            f"the unfinished run in '{folder.path}' was started by another version of "
            f"xai_adapters: {error} Finish it with that version, or remove '{folder.unfinished}' "
            "to start again"
        ) from error


def _run(described: RunDescription, folder: RunFolder, *, resume: bool) -> None:
    try:
        results = _results(described, folder, resume)
    except KeyboardInterrupt:
        if folder.plan() is not None:
            hint = f"xai-adapters benchmark --resume {folder.path}"
            print(f"interrupted; resume with: {hint}", file=sys.stderr)
        raise
    print_table(results, Console())
    _print_report_path(folder.path)
    if not any(run.status == "ok" for run in results.explainers):
        raise SystemExit(1)


def _results(described: RunDescription, folder: RunFolder, resume: bool) -> Results:
    """The results, with one worker process if nothing is said and the model can be copied to it."""
    task = described.load_task(progress=True)

    def run(options: RunDescription, *, resume: bool) -> Results:
        return run_with_options(
            task, described.explainers, options, folder, resume=resume, show_progress=True
        )

    try:
        return run(described.replaced({"jobs": described.jobs or 1}), resume=resume)
    except HandOverError as error:
        if described.jobs is not None:
            raise
        note = "Running in this process instead, where an explainer that hangs cannot be ended"
        print(f"xai-adapters: {error}. {note}", file=sys.stderr)
        return run(described, resume=True)


def _print_report_path(folder: Path) -> None:
    Console().print(f"report: {(folder / REPORT).resolve()}", soft_wrap=True, highlight=False)
