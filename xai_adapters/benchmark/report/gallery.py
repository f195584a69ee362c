"""Pictures of rows and of what explainers said of them, for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xai_adapters.benchmark.metrics.agreement import Agreement
from xai_adapters.benchmark.report.table import format_number
from xai_adapters.benchmark.results.results import Gallery
from xai_adapters.errors import require

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

# Both are white where a feature does not matter, and told apart by colour-blind readers.
DIVERGING, SEQUENTIAL = "RdBu_r", "Purples"
_LARGE = 64
MISSING = (200, 200, 200)
CLASS_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@cache
def palette(name: str) -> Pixels:
    """255 colours of one of plotly's scales and, last, the one for missing scores: (256, 3)."""
    colors = require("plotly.colors", "benchmark")
    steps = colors.sample_colorscale(name, np.linspace(0, 1, 255).tolist(), colortype="tuple")
    return np.array([*(np.array(steps) * 255).round(), MISSING]).astype(np.uint8)


def gradient(name: str) -> str:
    """A palette as a CSS gradient, for the key to the colours."""
    stops = ", ".join(_css(color) for color in palette(name)[:255:16])
    return f"linear-gradient(to right, {stops})"


def color_indices(scores: Floats, signed: bool) -> Pixels:
    """The place of each score in its palette, on one scale for all of an explainer's scores.

    A signed scale is symmetric about zero, so that white is neutral. The top percent of the scores
    share the last colour, because a single bright pixel would leave all others white.
    """
    known = np.isfinite(scores)
    indices = np.full(scores.shape, 255, dtype=np.uint8)
    if known.any():
        values = scores[known]
        size = np.abs(values) if signed else values
        high = np.percentile(size, 99) or size.max()
        low = -high if signed else values.min()
        neutral = 0.5 if signed else 0.0
        shares = (values - low) / (high - low) if high > low else np.full(values.shape, neutral)
        indices[known] = (shares.clip(0, 1) * 254).round().astype(np.uint8)
    return indices


def data_uri(pixels: Pixels, colors: Pixels | None = None, form: str = "PNG") -> str:
    """A picture as a data URI: gray (h, w), coloured (h, w, 3), or (h, w) places in a palette."""
    image = require("PIL.Image", "benchmark").fromarray(np.ascontiguousarray(pixels))
    if colors is not None:
        image.putpalette(colors.tobytes())
    file = io.BytesIO()
    image.save(file, format=form, optimize=True)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


@dataclass(frozen=True)
class GalleryRow:
    """An image as the first picture, then its map from each explainer; all are data URIs."""

    title: str
    picture: str
    maps: list[str]


def image_rows(gallery: Gallery, names: Sequence[str], n: int) -> list[GalleryRow]:
    """The first n images with the maps of the named explainers."""
    maps = {}
    for name in names:
        signed = gallery.signed[name]
        colors = palette(DIVERGING if signed else SEQUENTIAL)
        # On the scale of all rows, as in the browser below.
        indices = color_indices(_array(gallery.maps[name]), signed)[:n]
        maps[name] = [data_uri(map_, colors) for map_ in indices]
    pictures = _pictures(gallery)[:n]
    return [
        GalleryRow(title, picture, [maps[name][i] for name in names])
        for i, (title, picture) in enumerate(zip(gallery.titles[:n], pictures, strict=True))
    ]


def _pictures(gallery: Gallery) -> list[str]:
    """The images as data URIs; photographs are compressed."""
    images = gallery.rows.detach().cpu().double().nan_to_num()
    if images.shape[1] != 3:
        images = images.mean(dim=1, keepdim=True)
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    form = "JPEG" if max(images.shape[2:]) > _LARGE else "PNG"
    return [
        data_uri(each.squeeze(axis=2) if each.shape[2] == 1 else each, form=form) for each in pixels
    ]


def browser_data(gallery: Gallery | None, names: Sequence[str]) -> dict[str, Any]:
    """Everything that the page's script draws an image from: bytes as base64."""
    assert gallery is not None
    maps = {}
    for name in names:
        indices = color_indices(_array(gallery.maps[name]), gallery.signed[name])
        maps[name] = [base64.b64encode(each.tobytes()).decode() for each in indices]
    return {
        "titles": gallery.titles,
        "pictures": _pictures(gallery),
        "size": list(gallery.rows.shape[2:]),
        "names": list(names),
        "maps": maps,
        "sizes": {name: list(gallery.maps[name].shape[1:]) for name in names},
        "signed": {name: gallery.signed[name] for name in names},
        "palettes": {
            str(signed).lower(): base64.b64encode(palette(scale).tobytes()).decode()
            for signed, scale in ((True, DIVERGING), (False, SEQUENTIAL))
        },
    }


@dataclass(frozen=True)
class Grid:
    """A table of numbers with a style each; rows and columns have the same names."""

    title: str
    description: str
    names: list[str]
    cells: list[list[tuple[str, str]]]


def agreement_cells(agreement: Agreement, order: Mapping[str, int]) -> Grid:
    """Agreement as coloured numbers, the explainers in a given order."""
    at = sorted(
        range(len(agreement.names)), key=lambda i: order.get(agreement.names[i], len(order))
    )
    values = np.array(agreement.values, dtype=float)[np.ix_(at, at)]
    indices = np.where(
        np.isfinite(values), ((np.nan_to_num(values).clip(-1, 1) + 1) * 127).round(), 255
    )
    colors = palette(DIVERGING)[indices.astype(np.uint8)]
    cells = [
        [(f"{value:.2f}" if np.isfinite(value) else "–", _style(color)) for value, color in row]
        for row in (zip(*each, strict=True) for each in zip(values, colors, strict=True))
    ]
    names = [agreement.names[i] for i in at]
    return Grid(agreement.title, agreement.description, names, cells)


@dataclass(frozen=True)
class HeatTable:
    """One row of a table: its values and, for each explainer, a score a feature with its style."""

    title: str
    values: list[str]
    scores: dict[str, list[tuple[str, str]]]


def heat_tables(gallery: Gallery, names: Sequence[str]) -> list[HeatTable]:
    """For every row a table of explainers by features."""
    cells = {name: _heat_cells(_array(gallery.maps[name]), gallery.signed[name]) for name in names}
    return [
        HeatTable(
            title=title,
            values=[format_number(value) for value in row],
            scores={name: cells[name][i] for name in names},
        )
        for i, (title, row) in enumerate(zip(gallery.titles, gallery.rows.tolist(), strict=True))
    ]


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
    points, scores = _array(gallery.rows), _array(gallery.maps[name])
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


def _heat_cells(scores: Floats, signed: bool) -> list[list[tuple[str, str]]]:
    colors = palette(DIVERGING if signed else SEQUENTIAL)[color_indices(scores, signed)]
    return [
        [(format_number(score), _style(color)) for score, color in zip(*row, strict=True)]
        for row in zip(scores, colors, strict=True)
    ]


def _style(color: Pixels) -> str:
    """A background, and text that turns white where it is dark to the eye (Rec. 601 luma)."""
    dark = color @ np.array([0.299, 0.587, 0.114]) < 128
    return f"background: {_css(color)}; color: {'#fff' if dark else '#111'}"


def _css(color: Pixels) -> str:
    return "rgb({}, {}, {})".format(*color)


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().double().numpy()
