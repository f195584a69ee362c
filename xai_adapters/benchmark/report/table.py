"""The table of a run and how its numbers are written; as markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from xai_adapters.benchmark.results.results import (
    REFERENCE_EXPLAINERS,
    ExplainerRun,
    Measurement,
    Results,
)

DASH = "–"


@dataclass(frozen=True)
class Cell:
    """A value as it is written; None and a dash where there is none."""

    value: float | None = None
    text: str = DASH
    interval: tuple[float, float] | None = None
    best: bool = False
    rank: tuple[int, int] | None = None
    behind: str = ""

    @property
    def interval_text(self) -> str:
        """The 95 % interval in brackets, or nothing."""
        if self.interval is None:
            return ""
        low, high = map(format_number, self.interval)
        return f"[{low}, {high}]"

    @property
    def rank_text(self) -> str:
        """The best and the worst rank that the rows allow, "1" or "2–4"; nothing where unranked."""
        if self.rank is None:
            return ""
        best, worst = self.rank
        return str(best) if best == worst else f"{best}–{worst}"


@dataclass(frozen=True)
class Column:
    """One quantity of every explainer that ran: `cells` by the explainer's name.

    `fill` is what masked pixels became, where the same is measured with the task's own mask too.
    """

    title: str
    cells: dict[str, Cell]
    higher_is_better: bool | None
    description: str = ""
    unit: str = ""
    source: str = ""
    fill: str = ""

    def cell(self, run: ExplainerRun) -> Cell:
        """That of an explainer, which may have none."""
        return self.cells.get(run.name, Cell())

    @property
    def heading(self) -> str:
        """The title with its unit and an arrow to the better end."""
        arrow = {True: "↑", False: "↓", None: ""}[self.higher_is_better]
        return " ".join(filter(None, [self.title, self.unit and f"({self.unit})", arrow]))


def finite(value: float | None) -> float | None:
    """The value, or None for what is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def format_number(value: float | None) -> str:
    """A number to three decimals, with fewer when it is large and powers when it is tiny.

    Example:
        >>> [format_number(x) for x in (0.12345, -31.4159, 12345.6, 0.00002, 0.0, float("nan"))]
        ['0.123', '-31.4', '12,346', '2.0e-05', '0.000', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    size = abs(value)
    if 0 < size < 5e-4:
        return f"{value:.1e}"
    return f"{value:,.{3 if size < 10 else 1 if size < 1000 else 0}f}"


def format_seconds(value: float | None) -> str:
    """A duration in the unit that suits it.

    Example:
        >>> [format_seconds(x) for x in (4e-6, 0.0123, 7.25, 214.0, 9000.0, None)]
        ['4.0 µs', '12.3 ms', '7.2 s', '3.6 min', '2.5 h', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    for limit, unit, name in ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (60.0, 1.0, "s")):
        if value < limit:
            return f"{value / unit:.1f} {name}"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def format_bytes(value: float | None) -> str:
    """A size in memory in the unit that suits it.

    Example:
        >>> [format_bytes(x) for x in (0, 300_000, 5.25e6, 1.5e9, None)]
        ['0.0 MB', '0.3 MB', '5.2 MB', '1.5 GB', '–']
    """
    value = finite(value)
    if value is None:
        return DASH
    return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def metric_columns(results: Results) -> list[Column]:
    """A column for each metric that was measured for at least one explainer."""
    columns = []
    for metric, facts in results.metrics.items():
        found = {m.explainer: m for m in results.measurements if m.metric == metric}
        if not found:
            continue
        cells = {}
        for run in _ran(results):
            m = found.get(run.name)
            value = finite(m.value) if m else None
            if m is None or value is None:
                cells[run.name] = Cell()
                continue
            low, high = finite(m.low), finite(m.high)
            interval = None if low is None or high is None else (low, high)
            cells[run.name] = Cell(
                value, format_number(value), interval, rank=m.rank, behind=_behind(m)
            )
        better = facts.get("higher_is_better")
        columns.append(
            Column(
                title=facts.get("title", metric),
                cells=_mark_best(cells, better),
                higher_is_better=better,
                description=facts.get("description", ""),
                unit=facts.get("unit") or "",
                source=facts.get("source", ""),
                fill=facts.get("fill", ""),
            )
        )
    return columns


def _behind(measurement: Measurement) -> str:
    """How far from the one with the best mean, in words."""
    if measurement.behind is None:
        return ""
    low, high = (format_number(finite(end)) for end in measurement.behind["interval"])
    apart = format_number(finite(measurement.behind["mean"]))
    return f"{apart} [{low}, {high}] from {measurement.behind['leader']}, on the rows of both"


def cost_columns(results: Results) -> list[Column]:
    """What each explainer cost: seconds to fit, for a row and for all, and how many rows."""
    seconds: list[tuple[str, str, Callable[[ExplainerRun], float | None]]] = [
        # Nothing to fit is not a fast fit: an object is made within a millisecond.
        (
            "fit",
            "Time to fit, once",
            lambda run: run.fit_seconds if run.fit_seconds > 1e-3 else None,
        ),
        ("per row", "Mean time to explain one row", lambda run: run.seconds_per_row),
        ("all rows", "Time to explain all rows", lambda run: run.explain_seconds or None),
    ]
    columns = []
    for title, description, get in seconds:
        values = {run.name: finite(get(run)) for run in _ran(results)}
        cells = {name: Cell(value, format_seconds(value)) for name, value in values.items()}
        # An explainer cut off by the time limit would win the time for all rows.
        better = None if title == "all rows" else False
        columns.append(Column(title, _mark_best(cells, better), better, description))
    for cost, (title, description, write) in _COSTS.items():
        known = {run.name: finite(run.costs.get(cost)) for run in _ran(results)}
        if any(value is not None for value in known.values()):
            cells = {name: Cell(value, write(value)) for name, value in known.items()}
            columns.append(Column(title, _mark_best(cells, None), None, description))
    rows = {run.name: Cell(run.n_rows, f"{run.n_rows:,}") for run in _ran(results)}
    return [*columns, Column("rows", rows, None, "Rows explained within the time limit")]


# What explaining costs besides.
_COSTS: dict[str, tuple[str, str, Callable[[float | None], str]]] = {
    "fit_queries": ("fit asked", "Rows the model was asked about to fit", format_number),
    "queries_per_row": (
        "row asked",
        "Rows the model was asked about to explain one",
        format_number,
    ),
    "most_queries_of_a_row": (
        "most asked",
        "Most rows asked about for one of the rows that were explained alone",
        format_number,
    ),
    "own_seconds_per_row": ("own", "Time for a row without the model's", format_seconds),
    "latency_p50": ("alone p50", "Median time to explain one row alone", format_seconds),
    "latency_p95": ("alone p95", "95th percentile of it", format_seconds),
    "own_latency_p50": (
        "alone, own",
        "Median time of a row alone without the model's",
        format_seconds,
    ),
    "peak_memory": ("memory", "Most memory held beyond what was held before", format_bytes),
    "break_even_rows": (
        "break-even",
        "Rows from which FIMAP with a line search, its fit included, takes less time",
        format_number,
    ),
}


def leading(columns: Sequence[Column]) -> Column | None:
    """The column by which explainers are in order: the first that has a better end."""
    return next((column for column in columns if column.higher_is_better is not None), None)


def ranked(results: Results) -> list[ExplainerRun]:
    """The explainers that ran, best first by the leading metric, then those that raised."""
    column = leading(metric_columns(results))
    runs = _ran(results)
    if column is not None:
        sign = -1 if column.higher_is_better else 1

        def key(run: ExplainerRun) -> tuple[bool, float]:
            value = column.cell(run).value
            return value is None, sign * (value or 0.0)

        runs = sorted(runs, key=key)
    return [*runs, *(run for run in results.explainers if run.status == "error")]


def not_applicable(results: Results) -> dict[str, list[str]]:
    """The names of the explainers that the task's model cannot serve, by reason."""
    reasons: dict[str, list[str]] = {}
    for run in results.explainers:
        if run.status == "not applicable":
            reasons.setdefault(run.reason, []).append(run.name)
    return reasons


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


def _ran(results: Results) -> list[ExplainerRun]:
    return [run for run in results.explainers if run.status == "ok"]


def _mark_best(cells: dict[str, Cell], higher_is_better: bool | None) -> dict[str, Cell]:
    """Mark every cell that is written like the best one: ties stay ties."""
    values = [
        cell.value
        for name, cell in cells.items()
        if name not in REFERENCE_EXPLAINERS and cell.value is not None
    ]
    # What only one explainer has (the accuracy of its surrogate, say) has no best.
    if higher_is_better is None or len(values) < 2:
        return cells
    best = max(values) if higher_is_better else min(values)
    texts = {cell.text for cell in cells.values() if cell.value == best}
    return {
        name: replace(cell, best=name not in REFERENCE_EXPLAINERS and cell.text in texts)
        for name, cell in cells.items()
    }


def shorten(reason: str, width: int) -> str:
    """A reason in at most so many characters."""
    return textwrap.shorten(reason, width, placeholder=" …")


def _markdown(text: str) -> str:
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("|", "\\|")


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    rank = f"(rank {cell.rank_text})" if cell.rank else ""
    return " ".join(filter(None, [text, cell.interval_text, rank]))


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
