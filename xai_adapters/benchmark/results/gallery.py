"""The gallery: rows of a task with the scores of each explainer, for the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from xai_adapters.utils.tensor_file import read_tensors, write_tensors

# Pixels along a side of a photograph's map: as many as can be told apart, so reports stay small.
MAP_SIDE = 48
_MAP = "map/"
_LEVELS = 255


@dataclass
class Gallery:
    """Some rows and the scores of each explainer, to look at.

    Args:
        rows: (m, channels, height, width) images in [0, 1], or (m, d) table rows.
        titles: (m,) the predicted class of each row.
        maps: for each explainer, (m, height, width) or (m, d) scores; larger is more relevant.
        signed: for each explainer, whether the sign carries meaning (zero is neutral).
    """

    rows: Tensor
    titles: list[str]
    maps: dict[str, Tensor] = field(default_factory=dict)
    signed: dict[str, bool] = field(default_factory=dict)

    def add(self, explainer: str, maps: Tensor) -> None:
        """Add the scores of an explainer, of photographs with fewer pixels."""
        self.signed[explainer] = bool((maps < 0).any())
        if maps.ndim == 3 and max(maps.shape[1:]) > 2 * MAP_SIDE:
            maps = adaptive_avg_pool2d(maps[:, None], MAP_SIDE)[:, 0]
        self.maps[explainer] = maps

    def write(self, path: Path) -> None:
        """Write the gallery to a file; images are rounded to steps of 1 / 255."""
        maps = {_MAP + name: each for name, each in self.maps.items()}
        plain = {"titles": self.titles, "signed": self.signed}
        rows = (self.rows * _LEVELS).round().byte() if self.rows.ndim == 4 else self.rows
        write_tensors(path, {"rows": rows, **maps}, plain)

    @classmethod
    def read(cls, path: Path) -> Gallery:
        """Read a file that `write` wrote.

        Raises:
            OSError, ValueError, KeyError: for anything else.
        """
        tensors, plain = read_tensors(path)
        # The file does not keep the order of the run.
        maps = {name: tensors[_MAP + name] for name in plain["signed"]}
        rows = tensors["rows"]
        rows = rows.float() / _LEVELS if rows.dtype == torch.uint8 else rows
        return cls(rows, plain["titles"], maps, plain["signed"])
