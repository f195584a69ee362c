"""Images and their maps of scores, as pictures in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xai_adapters.benchmark.report.colors import (
    DIVERGING,
    SEQUENTIAL,
    Pixels,
    as_floats,
    color_indices,
    palette,
)
from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.errors import require

_LARGE = 64


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
        indices = color_indices(as_floats(gallery.maps[name]), signed)[:n]
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
        indices = color_indices(as_floats(gallery.maps[name]), gallery.signed[name])
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
