"""The table of a run as markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from xai_adapters.benchmark.report.columns import (
    Cell,
    cost_columns,
    metric_columns,
    not_applicable,
    ranked,
)
from xai_adapters.benchmark.report.formats import DASH, shorten
from xai_adapters.benchmark.results.results import Results


def markdown_table(results: Results) -> str:
    """The table with 95 % intervals, as markdown to paste into a pull request."""
    columns = metric_columns(results) + cost_columns(results)
    lines = [
        _markdown_row(["explainer", "baseline", *(column.heading for column in columns)]),
        _markdown_row(["---", "---", *("---:" for _ in columns)]),
    ]
    for run in ranked(results):
        failed = f" (error: {shorten(run.reason, 120)})" if run.status == "error" else ""
        cells = [_markdown_cell(column.cell(run)) for column in columns]
        lines.append(
            _markdown_row([_markdown(run.name + failed), _markdown(run.baseline) or DASH, *cells])
        )
    for reason, names in not_applicable(results).items():
        lines += ["", f"Not applicable: {_markdown(', '.join(names))} ({_markdown(reason)})"]
    return "\n".join(lines) + "\n"


def csv_table(results: Results) -> str:
    """The means as CSV, a line for each explainer and metric."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = ("explainer", "metric", "value", "standard_error", "low", "high", "n")
    writer.writerow([*fields, "best_rank", "worst_rank"])
    for each in results.measurements:
        values = [getattr(each, name) for name in fields]
        told = ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
        writer.writerow([*told, *(each.rank or ("", ""))])
    return file.getvalue()


def _markdown(text: str) -> str:
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("|", "\\|")


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    rank = f"(rank {cell.rank_text})" if cell.rank else ""
    return " ".join(filter(None, [text, cell.interval_text, rank]))


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
