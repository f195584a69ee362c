"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from xai_adapters.benchmark.metrics.randomization import ALONG_LAYERS
from xai_adapters.benchmark.report.arrows import arrow_figure, class_colors
from xai_adapters.benchmark.report.axiom_table import MARKS, axiom_table
from xai_adapters.benchmark.report.colors import DIVERGING, SEQUENTIAL, gradient
from xai_adapters.benchmark.report.columns import (
    Cell,
    Column,
    cost_columns,
    leading,
    metric_columns,
    not_applicable,
    ranked,
)
from xai_adapters.benchmark.report.curves import curve_plots, label_of_thresholds
from xai_adapters.benchmark.report.formats import DASH, finite, format_number
from xai_adapters.benchmark.report.heat_tables import agreement_cells, heat_tables
from xai_adapters.benchmark.report.pictures import browser_data, image_rows
from xai_adapters.benchmark.report.plots import plot_html
from xai_adapters.benchmark.report.text_tables import csv_table, markdown_table
from xai_adapters.benchmark.results.results import ExplainerRun, Results
from xai_adapters.errors import require

# Images shown with all maps at once; the others are chosen one by one.
_OVERVIEW = 8


def render(results: Results, axioms: Mapping[str, Any] | None = None) -> str:
    """The HTML of a report.

    Args:
        results: of a run.
        axioms: the content of a file that `xai-adapters axioms --out` wrote.
    """
    jinja2 = require("jinja2", "benchmark")
    # Names, reasons and titles are foreign text, so everything is escaped unless marked safe.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    environment.filters["plain"] = _plain
    environment.globals["whisker"] = _whisker
    runs, metrics = ranked(results), metric_columns(results)
    order = {run.name: place for place, run in enumerate(runs)}
    curves = curve_plots(results, runs)
    gallery = _gallery(results, runs)
    has_plots = bool(curves) or gallery.get("kind") == "arrows"
    page: str = environment.from_string(_file("report.html")).render(
        results=results,
        task=results.task,
        runs=runs,
        metrics=metrics,
        leading=leading(metrics),
        costs=cost_columns(results),
        not_applicable=not_applicable(results),
        curves=curves,
        masking=any(
            label_of_thresholds(results, curve.metric) != ALONG_LAYERS for curve in results.curves
        ),
        gallery=gallery,
        browser=browser_data(results.gallery, gallery["names"])
        if gallery.get("kind") == "images"
        else None,
        agreement=[agreement_cells(each, order) for each in results.agreement],
        examples=results.examples,
        axioms=axiom_table(axioms) if axioms else None,
        marks=MARKS,
        ours=[run.name for run in runs if run.role == "ours"],
        # Counterfactuals have no baseline.
        baselines=results.task.get("compares") != "counterfactual"
        and any(run.baseline not in ("none", "") for run in runs),
        references=[run for run in runs if run.is_reference and run.status == "ok"],
        dash=DASH,
        css=_file("report.css"),
        javascript=_file("report.js"),
        plotly=require("plotly.offline", "benchmark").get_plotlyjs() if has_plots else "",
    )
    return page


# Functions that write a run, by format.
WRITERS: dict[str, Callable[[Results], str]] = {
    "html": render,
    "md": markdown_table,
    "csv": csv_table,
}


def _gallery(results: Results, runs: Sequence[ExplainerRun]) -> dict[str, Any]:
    """The template's variables for the gallery; empty without a gallery."""
    gallery = results.gallery
    if gallery is None or not gallery.maps or not len(gallery.rows):
        return {}
    order = [run.name for run in runs]
    names = sorted(
        gallery.maps, key=lambda name: order.index(name) if name in order else len(order)
    )
    shared = {
        "names": names,
        "signed": gallery.signed,
        "diverging": gradient(DIVERGING),
        "sequential": gradient(SEQUENTIAL),
    }
    if gallery.rows.ndim == 4:
        rows = image_rows(gallery, names, _OVERVIEW)
        return {"kind": "images", "rows": rows, "pixels": gallery.rows.shape[-1], **shared}
    columns = gallery.rows.shape[1]
    features = results.task.get("feature_names") or [f"x{i + 1}" for i in range(columns)]
    if columns == 2:
        plots = {
            name: plot_html(arrow_figure(gallery, name, features), f"arrows-{i}")
            for i, name in enumerate(names)
        }
        key = {title: color for title, color in class_colors(gallery.titles).items() if title}
        return {"kind": "arrows", "plots": plots, "key": key, **shared}
    return {"kind": "tables", "features": features, "rows": heat_tables(gallery, names), **shared}


def _whisker(cell: Cell, column: Column) -> str:
    """CSS that places a cell's value and interval on the range of its column."""
    bounds = [bound for other in column.cells.values() for bound in other.interval or ()]
    lone = len(bounds) == 2
    if cell.value is None or cell.interval is None or lone or min(bounds) == max(bounds):
        return ""
    marks = zip(
        ("low", "at", "high"), (cell.interval[0], cell.value, cell.interval[1]), strict=True
    )
    scale = 100 / (max(bounds) - min(bounds))
    return "; ".join(f"--{name}: {(x - min(bounds)) * scale:.1f}%" for name, x in marks)


def _plain(value: Any) -> str:
    """A setting or a fact of the environment as text."""
    if isinstance(value, float):
        return f"{value:.6g}" if finite(value) is not None else DASH
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items()) or DASH
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or DASH
    return DASH if value is None else str(value)


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
