"""The report of a run: one HTML file for somebody who did not run it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from xai_adapters.benchmark.metrics.randomization import ALONG_LAYERS
from xai_adapters.benchmark.report.axiom_table import MARKS, axiom_table
from xai_adapters.benchmark.report.gallery import (
    DIVERGING,
    SEQUENTIAL,
    agreement_cells,
    arrow_figure,
    browser_data,
    class_colors,
    gradient,
    heat_tables,
    image_rows,
)
from xai_adapters.benchmark.report.table import (
    DASH,
    Cell,
    Column,
    cost_columns,
    csv_table,
    finite,
    format_number,
    leading,
    markdown_table,
    metric_columns,
    not_applicable,
    ranked,
)
from xai_adapters.benchmark.results.results import (
    REFERENCE_EXPLAINERS,
    Curve,
    ExplainerRun,
    Results,
)
from xai_adapters.errors import require

OURS = ("fimap", "invariant_box", "directed_box")
OUR_COUNTERFACTUALS = (
    "fimap_as_fitted",
    "fimap_line_search",
    "fimap_sparsify",
    "fimap_local_search",
    "invariant_box_counterfactual",
)

# Okabe and Ito's colours, which colour-blind readers can tell apart, less the yellow that is lost
# on white. What a reader looks for first is solid and thick; dashes tell the others apart.
OUR_COLORS = ("#0072B2", "#D55E00", "#CC79A7")
END_COLOR = "#000000"
OTHER_COLORS = ("#009E73", "#E69F00", "#56B4E9")
DASHES = ("solid", "9px,4px", "2px,3px", "9px,3px,2px,3px", "16px,4px")

# Images shown with all maps at once; the others are chosen one by one.
_OVERVIEW = 8

PLOT_CONFIG = {"responsive": True, "displaylogo": False, "displayModeBar": False}


def render(results: Results, axioms: Mapping[str, Any] | None = None) -> str:
    """The HTML of a report.

    Args:
        results: of a run.
        axioms: what `xai-adapters axioms --out` wrote, to be shown beside.
    """
    jinja2 = require("jinja2", "benchmark")
    # Names, reasons and titles are other people's text: everything is escaped unless marked safe.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = format_number
    environment.filters["plain"] = _plain
    environment.globals["whisker"] = _whisker
    runs, metrics = ranked(results), metric_columns(results)
    order = {run.name: place for place, run in enumerate(runs)}
    curves = _curve_plots(results, runs)
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
        masking=any(_along(results, curve.metric) != ALONG_LAYERS for curve in results.curves),
        gallery=gallery,
        browser=browser_data(results.gallery, gallery["names"])
        if gallery.get("kind") == "images"
        else None,
        agreement=[agreement_cells(each, order) for each in results.agreement],
        examples=results.examples,
        axioms=axiom_table(axioms) if axioms else None,
        marks=MARKS,
        ours=OURS + OUR_COUNTERFACTUALS,
        # What is absent has no meaning for counterfactuals.
        baselines=results.task.get("compares") != "counterfactual"
        and any(run.baseline not in ("none", "") for run in runs),
        ends=[run.name for run in runs if run.name in REFERENCE_EXPLAINERS and run.status == "ok"],
        dash=DASH,
        css=_file("report.css"),
        javascript=_file("report.js"),
        plotly=require("plotly.offline", "benchmark").get_plotlyjs() if has_plots else "",
    )
    return page


# What a run can be written as, by format.
WRITERS: dict[str, Callable[[Results], str]] = {
    "html": render,
    "md": markdown_table,
    "csv": csv_table,
}


@dataclass(frozen=True)
class Line:
    """How one explainer's curve is drawn, in the plot and in the key beside it."""

    name: str
    color: str
    dash: str
    emphasised: bool

    @property
    def width(self) -> float:
        """The width in pixels."""
        return 3.5 if self.name in OURS else 2.0

    def traces(self, curve: Curve) -> tuple[dict[str, Any], dict[str, Any]]:
        """The band and the line; `meta` tells the page's script which is which."""
        known = [
            (x, low, high)
            for x, low, high in zip(curve.thresholds, curve.low, curve.high, strict=True)
            if finite(low) is not None and finite(high) is not None
        ]
        band = {
            "x": [x for x, _, _ in known] + [x for x, _, _ in reversed(known)],
            "y": [high for _, _, high in known] + [low for _, low, _ in reversed(known)],
            "fill": "toself",
            "mode": "none",
            "fillcolor": f"rgba{(*bytes.fromhex(self.color[1:]), 0.16)}",
            "hoverinfo": "skip",
            "opacity": float(self.emphasised),
            "meta": {"explainer": self.name, "band": True, "emphasised": self.emphasised},
        }
        line = {
            "x": curve.thresholds,
            "y": curve.values,
            "mode": "lines",
            "line": {"color": self.color, "dash": self.dash, "width": self.width},
            "text": [
                f"{format_number(value)} [{format_number(low)}, {format_number(high)}]"
                for value, low, high in zip(curve.values, curve.low, curve.high, strict=True)
            ],
            "name": self.name.replace("<", "&lt;"),
            "hovertemplate": "%{x:.0%}: %{text}<extra>%{fullData.name}</extra>",
            "meta": {"explainer": self.name, "band": False, "emphasised": self.emphasised},
        }
        return band, line


@dataclass(frozen=True)
class CurvePlot:
    """The curves of one metric: what they show, the plot, and its key in the order of the lines."""

    title: str
    description: str
    higher_is_better: bool | None
    fill: str
    plot: str
    key: list[Line]


def _lines(runs: Sequence[ExplainerRun]) -> dict[str, Line]:
    lines = {}
    others = [run.name for run in runs if run.name not in OURS + REFERENCE_EXPLAINERS]
    for i, name in enumerate(sorted(others)):
        dash = DASHES[i // len(OTHER_COLORS) % len(DASHES)]
        lines[name] = Line(name, OTHER_COLORS[i % len(OTHER_COLORS)], dash, False)
    for name, color in zip(OURS, OUR_COLORS, strict=True):
        lines[name] = Line(name, color, "solid", True)
    for name, dash in zip(REFERENCE_EXPLAINERS, DASHES[1:], strict=False):
        lines[name] = Line(name, END_COLOR, dash, True)
    return lines


def _curve_plots(results: Results, runs: Sequence[ExplainerRun]) -> list[CurvePlot]:
    go = require("plotly.graph_objects", "benchmark")
    lines = _lines(runs)
    plots: list[CurvePlot] = []
    for metric in dict.fromkeys(curve.metric for curve in results.curves):
        facts = results.metrics.get(metric, {})
        curves = [curve for curve in results.curves if curve.metric == metric]
        # The key then reads from top to bottom as the lines do.
        curves.sort(key=lambda c: sum(y for y in c.values if math.isfinite(y)), reverse=True)
        traces = [lines[curve.explainer].traces(curve) for curve in curves]
        figure = go.Figure([*(band for band, _ in traces), *(line for _, line in traces)])
        along = _along(results, metric)
        figure.update_xaxes(title=along, tickformat=".0%")
        figure.update_yaxes(title=facts.get("title", metric), rangemode="tozero")
        figure.update_layout(margin={"l": 52, "r": 24, "t": 8, "b": 44})
        plots.append(
            CurvePlot(
                title=f"{facts.get('title', metric)}, by {along}",
                description=facts.get("description", ""),
                higher_is_better=facts.get("higher_is_better"),
                fill=facts.get("fill", ""),
                plot=_plot(figure, f"curves-{len(plots)}"),
                key=[lines[curve.explainer] for curve in curves],
            )
        )
    return plots


def _along(results: Results, metric: str) -> str:
    along: str = results.metrics.get(metric, {}).get("along", "share masked")
    return along


def _gallery(results: Results, runs: Sequence[ExplainerRun]) -> dict[str, Any]:
    """What the template needs to show the gallery: nothing where there is none."""
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
            name: _plot(arrow_figure(gallery, name, features), f"arrows-{i}")
            for i, name in enumerate(names)
        }
        key = {title: color for title, color in class_colors(gallery.titles).items() if title}
        return {"kind": "arrows", "plots": plots, "key": key, **shared}
    return {"kind": "tables", "features": features, "rows": heat_tables(gallery, names), **shared}


def _plot(figure: Any, name: str) -> str:
    figure.update_layout(
        template="none",
        showlegend=False,
        # A finger on a plot scrolls the page.
        dragmode=False,
        hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#333"},
    )
    figure.update_xaxes(gridcolor="#e6e6e6", zeroline=False)
    figure.update_yaxes(gridcolor="#e6e6e6", zeroline=False)
    html: str = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config=PLOT_CONFIG
    )
    return html


def _whisker(cell: Cell, column: Column) -> str:
    """CSS that places a cell's value and interval on the range of its column."""
    ends = [end for other in column.cells.values() for end in other.interval or ()]
    lone = len(ends) == 2
    if cell.value is None or cell.interval is None or lone or min(ends) == max(ends):
        return ""
    marks = zip(
        ("low", "at", "high"), (cell.interval[0], cell.value, cell.interval[1]), strict=True
    )
    scale = 100 / (max(ends) - min(ends))
    return "; ".join(f"--{name}: {(x - min(ends)) * scale:.1f}%" for name, x in marks)


def _plain(value: Any) -> str:
    """A setting or a fact of the environment in words."""
    if isinstance(value, float):
        return f"{value:.6g}" if finite(value) is not None else DASH
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items()) or DASH
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or DASH
    return DASH if value is None else str(value)


def _file(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
