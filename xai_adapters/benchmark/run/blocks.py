"""What a run finishes bit by bit: blocks of rows that an explainer explained, one file each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from xai_adapters.errors import ResultsFolderError
from xai_adapters.utils.tensor_file import read_tensors, write_tensors

_EXPLANATION, _VALUE = "explanation", "value/"


@dataclass(frozen=True, order=True)
class Unit:
    """What is done or not: one explainer, made with one seed, asked about rows `first` to `end`.

    Args:
        explainer: its name.
        seed: that it is made with.
        first: the first row.
        end: the row after the last.
        alone: whether each row is asked about in a call of its own, to time it.
    """

    explainer: str
    seed: int
    first: int
    end: int
    alone: bool = False

    def __str__(self) -> str:
        """The rows in words."""
        if self.end - self.first == 1:
            return f"row {self.first}"
        return f"rows {self.first} to {self.end - 1}" + self.alone * ", one by one"

    @property
    def rows(self) -> slice:
        """The rows, to take them from a tensor."""
        return slice(self.first, self.end)

    @property
    def n_rows(self) -> int:
        """How many rows a progress bar may count for it."""
        return 0 if self.alone else self.end - self.first


@dataclass
class Block:
    """What came of a unit.

    Args:
        explanation: (n, ...) what is kept of the answer; None for rows asked about alone.
        values: (n,) or (n, thresholds) float64 by metric, NaN for what was not measured.
        facts: seconds and counts by name.
        latencies: seconds of each row that was asked about alone.
        settings: the explainer's own, in plain values.
    """

    explanation: Tensor | None = None
    values: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class BlockStore:
    """Finished blocks in a folder; a file is there whole or not at all.

    Args:
        folder: where they lie; it is made when the first is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, unit: Unit, block: Block) -> None:
        """Keep what came of a unit.

        Raises:
            ResultsFolderError: if it cannot be written, as on a full disk.
        """
        tensors = {_VALUE + name: values for name, values in block.values.items()}
        if block.explanation is not None:
            tensors[_EXPLANATION] = block.explanation
        path = self._path(unit)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            told = {"facts": block.facts, "latencies": block.latencies, "settings": block.settings}
            write_tensors(path, tensors, told)
        except OSError as error:
            raise ResultsFolderError(
                f"{path} cannot be written: {error.strerror or error}. All blocks finished before "
                "it are kept; make room, and go on with --resume"
            ) from error

    def load(self, unit: Unit) -> Block | None:
        """What came of a unit; None if it is not finished, or its file is damaged."""
        try:
            tensors, told = read_tensors(self._path(unit))
            explanation = tensors.pop(_EXPLANATION, None)
            values = {name.removeprefix(_VALUE): values for name, values in tensors.items()}
            return Block(explanation, values, told["facts"], told["latencies"], told["settings"])
        except (OSError, ValueError, KeyError):
            return None

    def _path(self, unit: Unit) -> Path:
        rows = "alone" if unit.alone else f"{unit.first:06}-{unit.end:06}"
        name = f"{unit.seed}-{rows}.safetensors"
        return self.folder / quote(unit.explainer, safe="") / name
