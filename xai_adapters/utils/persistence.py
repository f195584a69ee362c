"""Saved explainers: one safetensors file with the arrays, and JSON in its header for the rest.

Nothing is unpickled: a file can hold numbers and text, and no code.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xai_adapters.errors import InvalidInputError, SavedExplainerError
from xai_adapters.utils.files import replace_file

FORMAT_VERSION = 2
_HEADER = "xai_adapters"
# What format 1 called what format 2 calls otherwise, and where such names stand: in the facts
# themselves and in these parts of them. Names of features are the user's, and stay.
_RENAMED_IN_2 = {
    "reading": "output_type",
    "output": "output_type",
    "check": "line_search",
    "put_back": "sparsify",
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
    path: str | Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write arrays and facts to a file, which is replaced at once.

    Args:
        path: the file.
        kind: what is saved, to be asked for when it is read.
        tensors: arrays by name.
        facts: whatever JSON can hold.

    Raises:
        InvalidInputError: if a fact is something that JSON cannot hold.
        OSError: if the file cannot be written.
    """
    try:
        header = json.dumps({"kind": kind, "version": FORMAT_VERSION, "facts": facts})
    except TypeError as error:
        raise InvalidInputError(
            f"the {kind} cannot be saved: {error}; class labels must be text or numbers"
        ) from error
    arrays = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_file(Path(path), lambda draft: save_file(arrays, draft, metadata={_HEADER: header}))


def read_explainer(
    path: str | Path, kind: str, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_explainer` wrote.

    Args:
        path: the file.
        kind: what it must hold.
        device: where the arrays shall be.

    Returns:
        Arrays by name, and the facts.

    Raises:
        FileNotFoundError: if there is no such file.
        SavedExplainerError: if it is truncated, something else, of another kind, or written by a
            newer version of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file '{path}'")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "null"))
            found = header and (header["kind"], header["version"])
            if found and found[0] == kind and found[1] in (1, FORMAT_VERSION):
                facts = (
                    header["facts"] if found[1] == FORMAT_VERSION else _upgraded(header["facts"])
                )
                return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise SavedExplainerError(
            f"'{path}' is not a saved explainer, or only a part of one: {error}"
        ) from error
    if not found:
        raise SavedExplainerError(f"'{path}' was not saved by xai_adapters")
    if found[0] != kind:
        raise SavedExplainerError(f"'{path}' holds a {found[0]}, not a {kind}")
    raise SavedExplainerError(
        f"'{path}' has format {found[1]}, and this version of xai_adapters reads format "
        f"{FORMAT_VERSION}: upgrade xai_adapters, or fit and save again"
    )


def _upgraded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of format 1, by the names of format 2."""
    parts = renamed_options(facts)
    for part in _PARTS_WITH_NAMES:
        if isinstance(parts.get(part), dict):
            parts[part] = renamed_options(parts[part])
    return parts


def renamed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of format 1 by the names of format 2; those of format 2 stay as they are.

    Example:
        >>> renamed_options({"put_back": True, "seed": 0})
        {'sparsify': True, 'seed': 0}
    """
    return {_RENAMED_IN_2.get(name, name): value for name, value in options.items()}


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
