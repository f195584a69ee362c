"""Tables of numbers with coloured cells: scores of rows, and agreement of explainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xai_adapters.benchmark.metrics.agreement import Agreement
from xai_adapters.benchmark.report.colors import (
    DIVERGING,
    SEQUENTIAL,
    Floats,
    as_floats,
    color_indices,
    palette,
    style,
)
from xai_adapters.benchmark.report.formats import DASH, format_number
from xai_adapters.benchmark.results.gallery import Gallery


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
        [(f"{value:.2f}" if np.isfinite(value) else DASH, style(color)) for value, color in row]
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
    """A table of explainers by features for every row."""
    cells = {
        name: _heat_cells(as_floats(gallery.maps[name]), gallery.signed[name]) for name in names
    }
    return [
        HeatTable(
            title=title,
            values=[format_number(value) for value in row],
            scores={name: cells[name][i] for name in names},
        )
        for i, (title, row) in enumerate(zip(gallery.titles, gallery.rows.tolist(), strict=True))
    ]


def _heat_cells(scores: Floats, signed: bool) -> list[list[tuple[str, str]]]:
    colors = palette(DIVERGING if signed else SEQUENTIAL)[color_indices(scores, signed)]
    return [
        [(format_number(score), style(color)) for score, color in zip(*row, strict=True)]
        for row in zip(scores, colors, strict=True)
    ]
