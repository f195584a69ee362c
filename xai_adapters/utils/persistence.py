"""Saved explainers: one safetensors file with the arrays, and JSON in its header for the rest.

Nothing is unpickled: a file can hold numbers and text, and no code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError, SavedExplainerError
from xai_adapters.utils.tensor_file import read_tensors, write_tensors

FORMAT_VERSION = 2
_HEADER = "xai_adapters"
# Names that format 2 changed, and where they occur: at the top and in these parts. Names of
# features are the user's, and stay.
_RENAMED_IN_2 = {
    "reading": "output_type",
    "output": "output_type",
    "check": "line_search",
    "put_back": "sparsify",
    "draws": "sampling",
}
_RENAMED_DRAWS = {
    "tilted": "importance",
    "graded": "masked_fraction",
    "faded": "fade_to_colour",
}
_PARTS_WITH_NAMES = ("arguments", "settings", "output_type")


class Saveable(Protocol):
    """What can be saved to a file, and read from it."""

    def save(self, path: str | Path) -> None:
        """Write to a file."""

    @classmethod
    def load(cls, path: str | Path) -> Saveable:
        """Read what `save` wrote."""


Explainer = TypeVar("Explainer", bound=Saveable)


def write_explainer(
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
) -> None:
    """Write arrays and other values to a file, which is replaced at once.

    Args:
        path: the file.
        kind: what is saved; reading checks it.
        tensors: arrays by name.
        values: whatever JSON can hold, by name.

    Raises:
        InvalidInputError: if JSON cannot hold one of the values.
        OSError: if the file cannot be written.
    """
    header = {"kind": kind, "version": FORMAT_VERSION, "facts": values}
    try:
        write_tensors(Path(path), tensors, header, key=_HEADER)
    except TypeError as error:
        raise InvalidInputError(
            f"the {kind} cannot be saved: {error}; class labels must be text or numbers"
        ) from error


def read_explainer(
    path: str | Path, kind: str, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_explainer` wrote.

    Args:
        path: the file.
        kind: what it must hold.
        device: of the arrays.

    Returns:
        Arrays by name, and the other values.

    Raises:
        FileNotFoundError: if there is no such file.
        SavedExplainerError: if it is truncated, something else, of another kind, or written by a
            newer version of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    try:
        tensors, header = read_tensors(path, key=_HEADER, device=device)
    except KeyError as error:
        raise SavedExplainerError(f"'{path}' was not saved by xai_adapters") from error
    except ValueError as error:
        raise SavedExplainerError(
            f"'{path}' is not a saved explainer, or only a part of one: {error}"
        ) from error
    if not isinstance(header, dict) or not {"kind", "version"} <= header.keys():
        raise SavedExplainerError(
            f"'{path}' is not a saved explainer: its header is {header!r:.60}"
        )
    if header["kind"] != kind:
        raise SavedExplainerError(f"'{path}' holds a {header['kind']}, not a {kind}")
    values = header.get("facts", {})
    if header["version"] == FORMAT_VERSION:
        return tensors, values
    if header["version"] == 1:
        return tensors, _upgraded(values)
    raise SavedExplainerError(
        f"'{path}' has format {header['version']}, and this version of xai_adapters reads formats "
        f"up to {FORMAT_VERSION}: upgrade xai_adapters, or fit and save again"
    )


def _upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of format 1, by the names of format 2."""
    parts = renamed_options(values)
    for part in _PARTS_WITH_NAMES:
        if isinstance(parts.get(part), dict):
            parts[part] = renamed_options(parts[part])
    return parts


def renamed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of format 1 by the names of format 2; those of format 2 stay as they are.

    Example:
        >>> renamed_options({"put_back": True, "seed": 0})
        {'sparsify': True, 'seed': 0}
        >>> renamed_options({"draws": "tilted"})
        {'sampling': 'importance'}
    """
    renamed = {_RENAMED_IN_2.get(name, name): value for name, value in options.items()}
    if "draws" in options:
        renamed["sampling"] = _RENAMED_DRAWS.get(options["draws"], options["draws"])
    return renamed


def without_removed(settings: Mapping[str, Any], removed: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings without those that no longer exist.

    Args:
        settings: as they were saved.
        removed: the default of each setting that earlier versions had and this one has not.

    Raises:
        SavedExplainerError: if such a setting was not at its default.

    Example:
        >>> without_removed({"epochs": 3, "momentum": 0.0}, {"momentum": 0.0})
        {'epochs': 3}
    """
    for name, default in removed.items():
        if settings.get(name, default) != default:
            raise SavedExplainerError(
                f"the explainer was saved with {name}={settings[name]!r}, an option that this "
                "version of xai_adapters no longer has: fit and save again"
            )
    return {name: value for name, value in settings.items() if name not in removed}


def explainer_bytes(explainer: Saveable) -> Tensor:
    """The bytes (m,) of the file that `explainer.save` writes, to be kept inside another file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer")
        explainer.save(path)
        return torch.from_numpy(np.fromfile(path, dtype=np.uint8))


def explainer_from_bytes(kind: type[Explainer], data: Tensor) -> Explainer:
    """The explainer of class `kind` that `explainer_bytes` gave these bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "explainer")
        data.cpu().numpy().tofile(path)
        explainer = kind.load(path)
    assert isinstance(explainer, kind)
    return explainer
