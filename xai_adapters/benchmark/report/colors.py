"""The colours of scores."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from xai_adapters.errors import require

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

# Both are white where a feature does not matter, and told apart by colour-blind readers.
DIVERGING, SEQUENTIAL = "RdBu_r", "Purples"
MISSING = (200, 200, 200)


@cache
def palette(name: str) -> Pixels:
    """255 colours of one of plotly's scales and, last, the one for missing scores: (256, 3)."""
    colors = require("plotly.colors", "benchmark")
    steps = colors.sample_colorscale(name, np.linspace(0, 1, 255).tolist(), colortype="tuple")
    return np.array([*(np.array(steps) * 255).round(), MISSING]).astype(np.uint8)


def gradient(name: str) -> str:
    """A palette as a CSS gradient, for the key to the colours."""
    stops = ", ".join(css_color(color) for color in palette(name)[:255:16])
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


def style(color: Pixels) -> str:
    """CSS of a background, with white text where it is dark (Rec. 601 luma)."""
    dark = color @ np.array([0.299, 0.587, 0.114]) < 128
    return f"background: {css_color(color)}; color: {'#fff' if dark else '#111'}"


def css_color(color: Pixels) -> str:
    """A colour in CSS."""
    return "rgb({}, {}, {})".format(*color)


def as_floats(tensor: Tensor) -> Floats:
    """A tensor as a float64 array."""
    return tensor.detach().cpu().double().numpy()
