"""The columns of a run's table, and the order of its explainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xai_adapters.benchmark.report.formats import (
    DASH,
    finite,
    format_bytes,
    format_number,
    format_seconds,
)
from xai_adapters.benchmark.results.results import ExplainerRun, Measurement, Results


@dataclass(frozen=True)
class Cell:
    """A value and its text; None and a dash if there is none."""

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
        """Range of possible ranks, "1" or "2–4"; empty if unranked."""
        if self.rank is None:
            return ""
        best, worst = self.rank
        return str(best) if best == worst else f"{best}–{worst}"


@dataclass(frozen=True)
class Column:
    """One quantity of every explainer that ran: `cells` by the explainer's name.

    `fill` names the mask, if it is not the task's own.
    """

    title: str
    cells: dict[str, Cell]
    higher_is_better: bool | None
    description: str = ""
    unit: str = ""
    source: str = ""
    fill: str = ""

    def cell(self, run: ExplainerRun) -> Cell:
        """The cell of an explainer, empty if it has none."""
        return self.cells.get(run.name, Cell())

    @property
    def heading(self) -> str:
        """The title with its unit and an arrow in the better direction."""
        arrow = {True: "↑", False: "↓", None: ""}[self.higher_is_better]
        return " ".join(filter(None, [self.title, self.unit and f"({self.unit})", arrow]))


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
                cells=_mark_best(cells, better, results),
                higher_is_better=better,
                description=facts.get("description", ""),
                unit=facts.get("unit") or "",
                source=facts.get("source", ""),
                fill=facts.get("fill", ""),
            )
        )
    return columns


def _behind(measurement: Measurement) -> str:
    """The difference from the explainer with the best mean, as text."""
    if measurement.behind is None:
        return ""
    low, high = (format_number(finite(end)) for end in measurement.behind["interval"])
    apart = format_number(finite(measurement.behind["mean"]))
    return f"{apart} [{low}, {high}] from {measurement.behind['leader']}, on the rows of both"


def cost_columns(results: Results) -> list[Column]:
    """Columns of timings, queries of the model, memory and rows explained."""
    seconds: list[tuple[str, str, Callable[[ExplainerRun], float | None]]] = [
        # Without a fit, making an explainer takes less than a millisecond.
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
        # An explainer stopped by the time limit would have the best time for all rows.
        better = None if title == "all rows" else False
        columns.append(Column(title, _mark_best(cells, better, results), better, description))
    for cost, (title, description, write) in _COSTS.items():
        known = {run.name: finite(run.costs.get(cost)) for run in _ran(results)}
        if any(value is not None for value in known.values()):
            cells = {name: Cell(value, write(value)) for name, value in known.items()}
            columns.append(Column(title, _mark_best(cells, None, results), None, description))
    rows = {run.name: Cell(run.n_rows, f"{run.n_rows:,}") for run in _ran(results)}
    return [*columns, Column("rows", rows, None, "Rows explained within the time limit")]


# Further costs: title, description and format of each.
_COSTS: dict[str, tuple[str, str, Callable[[float | None], str]]] = {
    "fit_queries": ("fit queries", "Rows the model was queried about while fitting", format_number),
    "queries_per_row": (
        "queries per row",
        "Rows the model was queried about to explain one row, mean",
        format_number,
    ),
    "most_queries_of_a_row": (
        "most queries",
        "Largest number of queries for a row explained alone",
        format_number,
    ),
    "own_seconds_per_row": (
        "own time",
        "Time to explain a row, without the model's own time",
        format_seconds,
    ),
    "latency_p50": ("latency p50", "Median time to explain one row alone", format_seconds),
    "latency_p95": (
        "latency p95",
        "95th percentile of the time to explain one row alone",
        format_seconds,
    ),
    "own_latency_p50": (
        "own latency",
        "Median time to explain one row alone, without the model's own time",
        format_seconds,
    ),
    "peak_memory": ("memory", "Peak memory beyond that in use before", format_bytes),
    "break_even_rows": (
        "break-even",
        "Rows from which FIMAP with a line search takes less time, including its fit",
        format_number,
    ),
}


def leading(columns: Sequence[Column]) -> Column | None:
    """The column that orders explainers: the first with a better direction."""
    return next((column for column in columns if column.higher_is_better is not None), None)


def ranked(results: Results) -> list[ExplainerRun]:
    """The explainers that ran, best first by the leading metric, then those that failed."""
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
    """Names of the explainers that do not apply to the task, by reason."""
    reasons: dict[str, list[str]] = {}
    for run in results.explainers:
        if run.status == "not applicable":
            reasons.setdefault(run.reason, []).append(run.name)
    return reasons


def _ran(results: Results) -> list[ExplainerRun]:
    return [run for run in results.explainers if run.status == "ok"]


def _mark_best(
    cells: dict[str, Cell], higher_is_better: bool | None, results: Results
) -> dict[str, Cell]:
    """Mark every cell with the text of the best one, so that ties stay ties.

    Reference explainers are not marked.
    """
    references = {run.name for run in results.explainers if run.is_reference}
    values = [
        cell.value
        for name, cell in cells.items()
        if name not in references and cell.value is not None
    ]
    # A value that only one explainer has is not the best one.
    if higher_is_better is None or len(values) < 2:
        return cells
    best = max(values) if higher_is_better else min(values)
    texts = {cell.text for cell in cells.values() if cell.value == best}
    return {
        name: replace(cell, best=name not in references and cell.text in texts)
        for name, cell in cells.items()
    }
