"""Tensors with a JSON header in one safetensors file, which is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xai_adapters.utils.files import replace_file

_KEY = "facts"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, key: str = _KEY
) -> None:
    """Write tensors, and a header of what JSON can hold.

    Args:
        path: the file, which is replaced at once.
        tensors: by name.
        header: anything that JSON can hold.
        key: name of the header in the file's metadata.

    Raises:
        OSError: if the file cannot be written; an earlier one is then left as it was.
        TypeError: if JSON cannot hold the header.
    """
    arrays = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file, which reports a full disk with an error of its own.
    content = safetensors.torch.save(arrays, {key: json.dumps(header)})
    replace_file(path, lambda draft: draft.write_bytes(content))


def read_tensors(
    path: Path, *, key: str = _KEY, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], Any]:
    """Read tensors and header of a file that `write_tensors` wrote.

    Raises:
        OSError: if it cannot be read.
        KeyError: if it has no such header.
        ValueError: if it is damaged, or something else.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = json.loads((file.metadata() or {})[key])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
