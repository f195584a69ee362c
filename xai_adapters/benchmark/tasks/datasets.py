"""The data sets that are read from files.

Their folder is named by the environment variable `XAI_ADAPTERS_DATA`.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xai_adapters.errors import InvalidInputError, XaiAdaptersError, require

DATA_VARIABLE = "XAI_ADAPTERS_DATA"


class MissingDataError(XaiAdaptersError, FileNotFoundError):
    """A data file is missing; the message names the file, the variable and what to do."""


def data_folder() -> Path | None:
    """The folder of the data sets, or None if `XAI_ADAPTERS_DATA` is not set."""
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder).expanduser() if folder else None


def data_file(relative: str) -> Path:
    """Path of a data file.

    Args:
        relative: path inside the data folder, such as "imagenet/classes.csv".

    Raises:
        MissingDataError: if the variable is not set or the file does not exist.
    """
    folder = data_folder()
    if folder is None:
        raise MissingDataError(
            f"{relative} is needed, but {DATA_VARIABLE} is not set; "
            "set it to the folder that holds the data sets"
        )
    path = folder / relative
    if not path.is_file():
        raise MissingDataError(
            f"{path} does not exist; put the file there, "
            f"or set {DATA_VARIABLE} to the folder that holds {relative}"
        )
    return path


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped idx file of bytes, the format MNIST is distributed in.

    The file holds two zero bytes, the type (8: unsigned bytes), the number of dimensions, each
    dimension as a big-endian 32-bit integer, and the values in row-major order.

    Raises:
        InvalidInputError: if the file has another format or is truncated.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{path} is not a complete gzip file: {error}") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise InvalidInputError(f"{path} is not an idx file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if len(content) != start + math.prod(shape):
        raise InvalidInputError(
            f"{path} announces {shape} values but holds {len(content) - start} bytes of them"
        )
    # A copy: a view of `bytes` is read-only, which torch warns about.
    values: NDArray[np.uint8] = np.frombuffer(content, np.uint8, offset=start).copy()
    return values.reshape(shape)


def mnist(split: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
    """MNIST in the original order.

    Returns:
        (n, 1, 28, 28) float32 images in [0, 1], and (n,) int64 digits; n is 60,000 or 10,000.
    """
    stem = {"train": "train", "test": "t10k"}[split]
    images = read_idx(data_file(f"mnist/{stem}-images-idx3-ubyte.gz"))
    labels = read_idx(data_file(f"mnist/{stem}-labels-idx1-ubyte.gz"))
    return torch.from_numpy(images)[:, None].float() / 255, torch.from_numpy(labels).long()


@dataclass(frozen=True)
class Animals:
    """ImageNet photographs of animals, with reference predictions of SqueezeNet.

    Args:
        images: (n, 3, 224, 224) float32, RGB in [0, 1], in the order of labels.csv.
        labels: (n,) int64 ImageNet class of each.
        class_names: one name for each of the 1,000 classes.
        reference_classes: (n,) int64 class with SqueezeNet's largest logit.
        reference_logits: (n,) that logit, to four decimals.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    reference_classes: Tensor
    reference_logits: Tensor


def imagenet_animals() -> Animals:
    """One hundred ImageNet photographs, each the central 224 x 224 pixels."""
    labels = _read_csv("imagenet/animals/labels.csv")
    by_file = {row["file"]: row for row in _read_csv("imagenet/animals/reference_predictions.csv")}
    reference = [by_file[row["file"]] for row in labels]
    return Animals(
        images=torch.stack([_centre(f"imagenet/animals/{row['file']}", 224) for row in labels]),
        labels=torch.tensor([int(row["class_index"]) for row in labels]),
        class_names=tuple(row["class_name"] for row in _read_csv("imagenet/classes.csv")),
        reference_classes=torch.tensor([int(row["squeezenet1_1_top1"]) for row in reference]),
        reference_logits=torch.tensor(
            [float(row["squeezenet1_1_top1_logit"]) for row in reference]
        ),
    )


def _read_csv(relative: str) -> list[dict[str, Any]]:
    with data_file(relative).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _centre(relative: str, size: int) -> Tensor:
    """The central square of an image file: (3, size, size) float32 in [0, 1]."""
    pillow = require("PIL.Image", "benchmark")
    with pillow.open(data_file(relative)) as image:
        left, top = (image.width - size) // 2, (image.height - size) // 2
        square = image.convert("RGB").crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255
