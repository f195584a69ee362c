"""Rows of two features as points, with their scores as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xai_adapters.benchmark.report.colors import Floats, as_floats
from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.errors import require

CLASS_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def class_colors(titles: Sequence[str]) -> dict[str, str]:
    """A colour for each title; one colour, without a title, where they are too many to tell."""
    distinct = list(dict.fromkeys(titles))
    if len(distinct) > len(CLASS_COLORS):
        return {"": CLASS_COLORS[0]}
    return dict(zip(distinct, CLASS_COLORS, strict=False))


def arrow_figure(gallery: Gallery, name: str, axes: Sequence[str]) -> Any:
    """Rows of two features as points, each with its scores as an arrow; all are equally long.

    Scores without a sign have no direction to point in: they are crosses, whose arms show how the
    relevance is divided between the two features.
    """
    figure = require("plotly.graph_objects", "benchmark").Figure()
    points, scores = as_floats(gallery.rows), as_floats(gallery.maps[name])
    lengths = np.linalg.norm(scores, axis=1, keepdims=True)
    drawn = (np.isfinite(lengths) & (lengths > 0)).squeeze(axis=1)
    step = 0.09 * (np.ptp(points, axis=0).max() or 1.0)
    arrows = step * np.divide(scores, lengths, where=lengths > 0, out=np.zeros_like(scores))
    strokes = _arrows if gallery.signed[name] else _crosses
    titles = np.array(gallery.titles)
    for title, color in class_colors(gallery.titles).items():
        chosen = (titles == title) if title else np.ones(len(points), dtype=bool)
        figure.add_scatter(
            **strokes(points[chosen & drawn], arrows[chosen & drawn]),
            line={"color": color, "width": 1.2},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=points[chosen, 0],
            y=points[chosen, 1],
            mode="markers",
            marker={"color": color, "size": 4},
            customdata=scores[chosen],
            hovertemplate="row (%{x:.3g}, %{y:.3g})<br>"
            "scores (%{customdata[0]:.3g}, %{customdata[1]:.3g})<extra></extra>",
        )
    figure.update_xaxes(title={"text": axes[0], "standoff": 4})
    # A direction is only a direction where both axes have the same unit.
    figure.update_yaxes(title={"text": axes[1], "standoff": 4}, scaleanchor="x")
    figure.update_layout(margin={"l": 40, "r": 8, "t": 8, "b": 36})
    return figure


def _arrows(tails: Floats, arrows: Floats) -> dict[str, Any]:
    """Lines from tail to head, with a marker at the head turned along the line."""
    gaps = np.full_like(tails, np.nan)
    x, y = np.stack([tails, tails + arrows, gaps], axis=1).reshape(-1, 2).T
    sizes = [0, 7, 0] * len(tails)
    marker = {"symbol": "arrow", "angleref": "previous", "size": sizes}
    return {"mode": "lines+markers", "marker": marker, "x": x, "y": y}


def _crosses(centres: Floats, arms: Floats) -> dict[str, Any]:
    """For each centre a horizontal and a vertical line, as long as its two arms."""
    ends = np.full((len(centres), 6, 2), np.nan)
    for axis in (0, 1):
        half = np.zeros_like(arms)
        half[:, axis] = arms[:, axis] / 2
        ends[:, 3 * axis] = centres - half
        ends[:, 3 * axis + 1] = centres + half
    x, y = ends.reshape(-1, 2).T
    return {"mode": "lines", "x": x, "y": y}
