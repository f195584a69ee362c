"""Blocks of rows that an explainer explains at once, and their results, one file each."""

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
class Block:
    """The smallest piece of work: one explainer, made with one seed, explains some rows.

    Args:
        explainer: its name.
        seed: the seed it is made with.
        first: the first row.
        end: the row after the last.
        row_by_row: whether each row is explained in a call of its own, for its latency.
    """

    explainer: str
    seed: int
    first: int
    end: int
    row_by_row: bool = False

    def __str__(self) -> str:
        """The rows in words."""
        if self.end - self.first == 1:
            return f"row {self.first}"
        return f"rows {self.first} to {self.end - 1}" + self.row_by_row * ", one by one"

    @property
    def rows(self) -> slice:
        """The rows, as an index of a tensor."""
        return slice(self.first, self.end)

    @property
    def n_rows(self) -> int:
        """The number of rows that count as progress."""
        return 0 if self.row_by_row else self.end - self.first


@dataclass
class BlockResult:
    """The result of a block.

    Args:
        explanation: (n, ...) the scores or counterfactuals to keep; None for rows one by one.
        values: (n,) or (n, thresholds) float64 by metric, NaN where there is no value.
        costs: seconds, queries and bytes by name.
        latencies: seconds of each row that was explained alone, by name.
        settings: the explainer's own settings, as plain values.
    """

    explanation: Tensor | None = None
    values: dict[str, Tensor] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class BlockStore:
    """Results of finished blocks in a folder; each file is complete or does not exist.

    Args:
        folder: the folder; it is made when the first result is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, block: Block, result: BlockResult) -> None:
        """Save the result of a block.

        Raises:
            ResultsFolderError: if it cannot be written, for example on a full disk.
        """
        tensors = {_VALUE + name: values for name, values in result.values.items()}
        if result.explanation is not None:
            tensors[_EXPLANATION] = result.explanation
        plain = {name: getattr(result, name) for name in ("costs", "latencies", "settings")}
        path = self._path(block)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, plain)
        except OSError as error:
            raise ResultsFolderError(
                f"{path} cannot be written: {error.strerror or error}. All blocks finished before "
                "it are kept; make room and resume with --resume"
            ) from error

    def load(self, block: Block) -> BlockResult | None:
        """The result of a block; None if it is not finished or its file is damaged."""
        try:
            tensors, plain = read_tensors(self._path(block))
            explanation = tensors.pop(_EXPLANATION, None)
            values = {name.removeprefix(_VALUE): values for name, values in tensors.items()}
            return BlockResult(explanation, values, **plain)
        except (OSError, ValueError, TypeError):
            return None

    def _path(self, block: Block) -> Path:
        rows = "row-by-row" if block.row_by_row else f"{block.first:06}-{block.end:06}"
        name = f"{block.seed}-{rows}.safetensors"
        return self.folder / quote(block.explainer, safe="") / name
