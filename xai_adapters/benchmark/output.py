"""The files that a run writes, each replaced at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from xai_adapters.benchmark.report import render
from xai_adapters.benchmark.results import Results
from xai_adapters.core.files import replace_file
from xai_adapters.errors import ResultsFolderError, require


def check_writers() -> None:
    """Make sure, before the work, that the libraries are there that write its results.

    Raises:
        MissingDependencyError: if one is not installed.
    """
    for library in ("pyarrow.parquet", "plotly", "jinja2", "PIL"):
        require(library, "benchmark")


def write_results(results: Results, folder: Path) -> Path:
    """Write `results.json`, `rows.parquet` and `report.html`; return the report's path.

    Each file is replaced at once, and none before all three could be made.
    """
    pyarrow, parquet = require("pyarrow", "benchmark"), require("pyarrow.parquet", "benchmark")
    rows = pyarrow.Table.from_pylist(
        results.rows,
        schema=pyarrow.schema(
            [
                ("explainer", pyarrow.string()),
                ("metric", pyarrow.string()),
                ("row", pyarrow.int64()),
                ("threshold", pyarrow.float64()),
                ("value", pyarrow.float64()),
            ]
        ),
    )
    page, summary, report = render(results), results.as_json(), folder / "report.html"
    written: list[tuple[Path, Callable[[Path], object]]] = [
        (folder / "rows.parquet", lambda path: parquet.write_table(rows, path)),
        (folder / "results.json", lambda path: path.write_text(summary, encoding="utf-8")),
        (report, lambda path: path.write_text(page, encoding="utf-8")),
    ]
    for path, write in written:
        try:
            replace_file(path, write)
        except OSError as error:
            raise ResultsFolderError(
                f"'{path}' cannot be written: {error.strerror or error}. What is finished is kept; "
                "make room, and go on with --resume"
            ) from error
    return report
