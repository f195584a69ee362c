"""The plots of curves, and how each explainer's line is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xai_adapters.benchmark.report.formats import finite, format_number
from xai_adapters.benchmark.report.plots import plot_html
from xai_adapters.benchmark.results.results import Curve, ExplainerRun, Results
from xai_adapters.errors import require

# Okabe and Ito's colours, which colour-blind readers can distinguish, without the yellow that is
# hard to see on white. Our explainers are solid and thick; dashes distinguish the others.
OUR_COLORS = ("#0072B2", "#D55E00", "#CC79A7")
REFERENCE_COLOR = "#000000"
OTHER_COLORS = ("#009E73", "#E69F00", "#56B4E9")
DASHES = ("solid", "9px,4px", "2px,3px", "9px,3px,2px,3px", "16px,4px")


@dataclass(frozen=True)
class Line:
    """How one explainer's curve is drawn, in the plot and in its legend."""

    name: str
    color: str
    dash: str
    width: float
    emphasised: bool

    def traces(self, curve: Curve) -> tuple[dict[str, Any], dict[str, Any]]:
        """The band and the line; the page's script distinguishes them by `meta`."""
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
    """The curves of one metric: the plot, and its legend in the order of the lines."""

    title: str
    description: str
    higher_is_better: bool | None
    fill: str
    plot: str
    key: list[Line]


def _lines(runs: Sequence[ExplainerRun]) -> dict[str, Line]:
    """How each explainer is drawn, by its name: ours and references stand out."""
    by_role: dict[str, list[str]] = {"ours": [], "reference": [], "comparator": []}
    for run in sorted(runs, key=lambda run: run.name):
        by_role["reference" if run.is_reference else run.role].append(run.name)
    lines = {}
    for i, name in enumerate(by_role["comparator"]):
        dash = DASHES[i // len(OTHER_COLORS) % len(DASHES)]
        lines[name] = Line(name, OTHER_COLORS[i % len(OTHER_COLORS)], dash, 2.0, False)
    for i, name in enumerate(by_role["ours"]):
        lines[name] = Line(name, OUR_COLORS[i % len(OUR_COLORS)], "solid", 3.5, True)
    for i, name in enumerate(by_role["reference"]):
        lines[name] = Line(name, REFERENCE_COLOR, DASHES[1 + i % (len(DASHES) - 1)], 2.0, True)
    return lines


def curve_plots(results: Results, runs: Sequence[ExplainerRun]) -> list[CurvePlot]:
    """A plot for each metric that is a curve."""
    go = require("plotly.graph_objects", "benchmark")
    lines = _lines(runs)
    plots: list[CurvePlot] = []
    for metric in dict.fromkeys(curve.metric for curve in results.curves):
        facts = results.metrics.get(metric, {})
        curves = [curve for curve in results.curves if curve.metric == metric]
        # The legend is in the order of the lines, from top to bottom.
        curves.sort(key=lambda c: sum(y for y in c.values if math.isfinite(y)), reverse=True)
        traces = [lines[curve.explainer].traces(curve) for curve in curves]
        figure = go.Figure([*(band for band, _ in traces), *(line for _, line in traces)])
        label = label_of_thresholds(results, metric)
        figure.update_xaxes(title=label, tickformat=".0%")
        figure.update_yaxes(title=facts.get("title", metric), rangemode="tozero")
        figure.update_layout(margin={"l": 52, "r": 24, "t": 8, "b": 44})
        plots.append(
            CurvePlot(
                title=f"{facts.get('title', metric)}, by {label}",
                description=facts.get("description", ""),
                higher_is_better=facts.get("higher_is_better"),
                fill=facts.get("fill", ""),
                plot=plot_html(figure, f"curves-{len(plots)}"),
                key=[lines[curve.explainer] for curve in curves],
            )
        )
    return plots


def label_of_thresholds(results: Results, metric: str) -> str:
    """What a curve's thresholds are."""
    label: str = results.metrics.get(metric, {}).get("along", "share masked")
    return label
