"""A saved explainer as an array, to be kept inside the file of another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor


class Saved(Protocol):
    """What can be saved to a file, and read from it."""

    def save(self, path: str | Path) -> None:
        """Write to a file."""

    @classmethod
    def load(cls, path: str | Path) -> Saved:
        """Read what `save` wrote."""


Explainer = TypeVar("Explainer", bound=Saved)


def as_array(explainer: Saved) -> Tensor:
    """Return the bytes (m,) of the file that `explainer.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer")
        explainer.save(path)
        return torch.from_numpy(np.fromfile(path, dtype=np.uint8))


def from_array(kind: type[Explainer], array: Tensor) -> Explainer:
    """Return the explainer of class `kind` that `as_array` gave these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer")
        array.cpu().numpy().tofile(path)
        explainer = kind.load(path)
    assert isinstance(explainer, kind)
    return explainer
