"""Tensors with a few facts in one file, which is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xai_adapters.utils.files import replace_file

_FACTS = "facts"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and what JSON can hold of facts; an `OSError` leaves what was there."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file, which tells of a full disk in an error of its own.
    content = safetensors.torch.save(held, {_FACTS: json.dumps(facts)})
    replace_file(path, lambda draft: draft.write_bytes(content))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not whole, or not such a file.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
