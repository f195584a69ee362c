"""The folder a run writes into: checked before the work, files replaced at once."""

from __future__ import annotations

import os
from pathlib import Path

from xai_adapters.benchmark.report import render
from xai_adapters.benchmark.results import Results
from xai_adapters.core.files import replace_file
from xai_adapters.errors import InvalidInputError, require


def prepare_folder(folder: Path) -> None:
    """Make the folder, and make sure, before the work, that files can be written there.

    Raises:
        InvalidInputError: if they cannot.
        MissingDependencyError: if a library that writes them is not installed.
    """
    for library in ("pyarrow.parquet", "plotly", "jinja2", "PIL"):
        require(library, "benchmark")
    probe = folder / f".writable.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"cannot write into folder '{folder}': {error.strerror}; choose another with --out"
        ) from error


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
    page, summary = render(results), results.as_json()
    replace_file(folder / "rows.parquet", lambda path: parquet.write_table(rows, path))
    replace_file(folder / "results.json", lambda path: path.write_text(summary, encoding="utf-8"))
    report = folder / "report.html"
    replace_file(report, lambda path: path.write_text(page, encoding="utf-8"))
    return report
