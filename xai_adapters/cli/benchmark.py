"""What `xai-adapters benchmark` does."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from xai_adapters.benchmark.report.terminal_table import print_table
from xai_adapters.benchmark.results.files import SUMMARY, check_writers
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.processes import HandOverError
from xai_adapters.benchmark.run.request import Request
from xai_adapters.benchmark.run.run_folder import RunFolder
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.run.settings import check_jobs
from xai_adapters.errors import InvalidInputError, ResultsFolderError, UnknownNameError, require


def begin(request: Request, out: Path | None, jobs: int | None) -> None:
    """Begin a run, and print its table and where its report is.

    If no explainer could be compared, the exit code is 1.

    Raises:
        XaiAdaptersError: for what cannot be used, before a model is trained where it can be told.
    """
    request.check()
    check_jobs(jobs)
    check_writers()
    with RunFolder(out or request.folder) as folder:
        folder.check_free()
        if (folder.path / SUMMARY).exists():
            warnings.warn(
                f"the results in '{folder.path}' are replaced when this run is finished",
                stacklevel=2,
            )
        _run(request, folder, jobs, resume=False)


def go_on(path: Path, jobs: int | None, limits: Mapping[str, Any]) -> None:
    """Go on with the unfinished run in a folder; one that is finished is said to be.

    Args:
        path: the folder.
        jobs: processes that explain; None for one, or for none where nothing can be copied to it.
        limits: those of `LIMITS` that shall be others from now on.

    Raises:
        ResultsFolderError: if there is no run in the folder.
    """
    report = path / "report.html"
    if not (path / "unfinished").exists() and report.exists():
        _say_where(report)
        return
    check_writers()
    if not path.is_dir():
        raise ResultsFolderError(f"there is no folder '{path}' to go on with")
    with RunFolder(path) as folder:
        plan = folder.plan()
        if plan is None:
            raise ResultsFolderError(f"there is no unfinished run in folder '{path}'")
        request = _request(plan, folder)
        _run(request.overridden(limits), folder, jobs, resume=True)


def _request(plan: Mapping[str, Any], folder: RunFolder) -> Request:
    found = plan.get("description", {}).get("request")
    if not found:
        raise ResultsFolderError(
            "the unfinished run was begun from Python; go on with it from there, with "
            "run_benchmark(..., resume=True)"
        )
    try:
        return Request.of(found, "its plan")
    except (InvalidInputError, UnknownNameError) as error:
        raise ResultsFolderError(
            f"the unfinished run in '{folder.path}' was begun by another version of xai_adapters: "
            f"{error} Finish it with that, or remove '{folder.unfinished}' to begin anew"
        ) from error


def _run(request: Request, folder: RunFolder, jobs: int | None, *, resume: bool) -> None:
    try:
        results = _results(request, folder, jobs, resume)
    except KeyboardInterrupt:
        if folder.plan() is not None:
            hint = f"xai-adapters benchmark --resume {folder.path}"
            print(f"interrupted; go on with: {hint}", file=sys.stderr)
        raise
    print_table(results, require("rich.console", "benchmark").Console())
    _say_where(folder.path / "report.html")
    if not any(run.status == "ok" for run in results.explainers):
        raise SystemExit(1)


def _results(request: Request, folder: RunFolder, jobs: int | None, resume: bool) -> Results:
    run = partial(
        run_benchmark,
        request.load(progress=True),
        request.explainers,
        folder=folder,
        show_progress=True,
        description={"request": request.to_dict()},
        **vars(request.settings),
    )
    try:
        return run(jobs=jobs or 1, resume=resume)
    except HandOverError as error:
        if jobs is not None:
            raise
        waits = "Without, an explainer that does not come to an end is waited for"
        print(f"xai-adapters: {error}. {waits}", file=sys.stderr)
        return run(resume=True)


def _say_where(report: Path) -> None:
    console = require("rich.console", "benchmark").Console()
    console.print(f"report: {report.resolve()}", soft_wrap=True, highlight=False)
