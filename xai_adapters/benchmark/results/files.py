"""The files of a run: written, each replaced as a whole, and read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.benchmark.results.results import SCHEMA_VERSION, Results
from xai_adapters.benchmark.results.upgrade import renamed
from xai_adapters.errors import ResultsFolderError, require
from xai_adapters.utils.files import replace_file

REPORT, SUMMARY, ROWS = "report.html", "results.json", "rows.parquet"
PICTURES = "gallery.safetensors"
_COLUMNS = {
    "explainer": "string", "metric": "string", "row": "int64", "threshold": "float64",
    "value": "float64",
}  # fmt: skip


def check_writers() -> None:
    """Make sure before a run that the libraries are installed that write its results.

    Raises:
        MissingDependencyError: if one is not installed.
    """
    for library in ("pyarrow.parquet", "plotly", "jinja2", "PIL"):
        require(library, "benchmark")


def write_results(results: Results, folder: Path, report: str | None = None) -> None:
    """Write a run's files into its folder, each of them replaced at once.

    Args:
        results: written to `results.json`, `rows.parquet` and, where there is one,
            `gallery.safetensors`.
        folder: an existing folder.
        report: the HTML page for `report.html`; None writes none.

    Raises:
        ResultsFolderError: if one cannot be written.
    """
    pyarrow, parquet = require("pyarrow", "benchmark"), require("pyarrow.parquet", "benchmark")
    schema = [(name, getattr(pyarrow, kind)()) for name, kind in _COLUMNS.items()]
    rows = pyarrow.Table.from_pylist(results.rows, schema=pyarrow.schema(schema))
    summary = results.to_json()
    written: list[tuple[Path, Callable[[Path], object]]] = [
        (folder / ROWS, lambda path: parquet.write_table(rows, path)),
        (folder / SUMMARY, lambda path: path.write_text(summary, encoding="utf-8")),
    ]
    if report is not None:
        written.append((folder / REPORT, lambda path: path.write_text(report, encoding="utf-8")))
    path = folder / PICTURES
    try:
        if results.gallery is None:
            path.unlink(missing_ok=True)
        else:
            results.gallery.write(path)
        for path, write in written:
            replace_file(path, write)
    except OSError as error:
        raise ResultsFolderError(
            f"'{path}' cannot be written: {error.strerror or error}. Finished blocks are "
            "kept; make room and resume with --resume"
        ) from error


def read_results(folder: Path) -> Results:
    """The results in a folder, with rows and gallery where they exist.

    Raises:
        ResultsFolderError: if there are none, or they cannot be read.
    """
    path = folder / SUMMARY
    if not path.is_file():
        hint = "it holds an unfinished run, which --resume finishes"
        if not (folder / "unfinished").exists():
            hint = "a folder that `xai-adapters benchmark` wrote was expected"
        raise ResultsFolderError(f"there is no {SUMMARY} in '{folder}'; {hint}")
    try:
        text = path.read_text(encoding="utf-8")
        version = json.loads(text)["schema_version"]
        if version > SCHEMA_VERSION:
            raise ResultsFolderError(
                f"'{path}' was written by a newer xai_adapters (schema {version}; this one reads "
                f"up to {SCHEMA_VERSION}); update it"
            )
        results = Results.from_json(text)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ResultsFolderError):
            raise
        raise ResultsFolderError(
            f"'{path}' is damaged, or not written by `xai-adapters benchmark`: "
            f"{type(error).__name__}: {error}"
        ) from error
    results.rows = renamed(_read_rows(folder / ROWS)) if version < 3 else _read_rows(folder / ROWS)
    results.gallery = _read_gallery(folder / PICTURES)
    if results.gallery is not None and version < 3:
        results.gallery.maps = renamed(results.gallery.maps)
        results.gallery.signed = renamed(results.gallery.signed)
    return results


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    pyarrow, parquet = require("pyarrow", "benchmark"), require("pyarrow.parquet", "benchmark")
    try:
        table = parquet.read_table(path)
        rows: list[dict[str, Any]] = table.select(list(_COLUMNS)).to_pylist()
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise ResultsFolderError(
            f"'{path}' is damaged: {error}; remove it to read the means in {SUMMARY} alone"
        ) from error
    return rows


def _read_gallery(path: Path) -> Gallery | None:
    if not path.exists():
        return None
    try:
        return Gallery.read(path)
    except (OSError, ValueError, KeyError) as error:
        raise ResultsFolderError(
            f"'{path}' is damaged: {error}; remove it to do without the gallery"
        ) from error
