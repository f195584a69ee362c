"""The table of a run for a terminal."""

from __future__ import annotations

from typing import Any

from xai_adapters.benchmark.report.columns import (
    Cell,
    Column,
    cost_columns,
    metric_columns,
    not_applicable,
    ranked,
)
from xai_adapters.benchmark.report.formats import DASH, shorten
from xai_adapters.benchmark.results.results import ExplainerRun, Results
from xai_adapters.errors import require

# Shown only in the report and in markdown, because terminals are narrow.
_ONLY_REPORTED = ("most queries", "own time", "latency p95", "own latency")
_RANKS = (
    "ranks in brackets: 1–3 means that no explainer is significantly better, and that two others "
    "cannot be distinguished from this one"
)


def print_table(results: Results, console: Any) -> None:
    """Print a row for each explainer, best first, to a `rich.console.Console`; ranks in brackets.

    On a narrow terminal the columns are spread over several tables. Intervals are shown only in the
    report, as no terminal is wide enough for them.
    """
    text = require("rich.text", "benchmark").Text
    runs = ranked(results)
    metrics, costs = metric_columns(results), cost_columns(results)
    costs = [column for column in costs if column.title not in _ONLY_REPORTED]
    tables = [[*metrics, *costs]]
    if not _fits(_table(runs, tables[0]), console):
        # A table for each set of measured explainers, or at worst for each column.
        groups: dict[frozenset[str], list[Column]] = {}
        for column in metrics:
            measured = frozenset(name for name, cell in column.cells.items() if cell.text != DASH)
            groups.setdefault(measured, []).append(column)
        tables = []
        for group in [*groups.values(), costs]:
            tables.append(group[:1])
            for column in group[1:]:
                if _fits(_table(runs, [*tables[-1], column]), console):
                    tables[-1].append(column)
                else:
                    tables.append([column])
    for columns in tables:
        # Explainers without a value in any of the columns are left out.
        shown = [run for run in runs if any(c.cell(run).text != DASH for c in columns)]
        console.print(_table(shown, columns))
    if any(cell.rank for column in metrics for cell in column.cells.values()):
        console.print(text(_RANKS, style="dim"))
    for run in runs:
        if run.reason:
            style = "red" if run.status == "error" else "yellow"
            console.print(text(f"{run.name}: {shorten(run.reason, 200)}", style=style))
    for reason, names in not_applicable(results).items():
        console.print(text(f"not applicable: {', '.join(names)} ({reason})", style="dim"))


def _table(runs: list[ExplainerRun], columns: list[Column]) -> Any:
    text = require("rich.text", "benchmark").Text
    table = require("rich.table", "benchmark").Table(box=require("rich.box", "benchmark").SIMPLE)
    # Only headings are wrapped, so that names and numbers can be copied.
    table.add_column("explainer", no_wrap=True)
    for column in columns:
        words = [*column.heading.split(), *map(_written, column.cells.values())]
        table.add_column(
            text(column.heading), justify="right", min_width=max(map(len, words), default=0)
        )
    for run in runs:
        cells = [column.cell(run) for column in columns]
        styles = ["bold" if cell.best else "" for cell in cells]
        table.add_row(run.name, *map(text, map(_written, cells), styles))
    return table


def _written(cell: Cell) -> str:
    return f"{cell.text} ({cell.rank_text})" if cell.rank else cell.text


def _fits(table: Any, console: Any) -> bool:
    measure = require("rich.measure", "benchmark").Measurement.get
    # rich's minimum leaves out the lines between columns.
    needed = measure(console, console.options.update(width=10_000), table).minimum
    return bool(needed + len(table.columns) <= console.width)
