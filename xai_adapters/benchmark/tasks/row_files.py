"""Rows from .npz and .parquet files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xai_adapters.errors import InvalidInputError, require

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class DataFile:
    """The content of a file of rows.

    Args:
        path: of the file.
        held: (n, ...) numbers, or raw columns.
        background: (m, ...) numbers, if any.
        names: of the columns, if known.
    """

    path: Path
    held: NDArray[Any] | DataFrame
    background: NDArray[Any] | None = None
    names: tuple[str, ...] = ()

    def numbers(self) -> NDArray[Any]:
        """The rows as (n, ...) numbers.

        Raises:
            InvalidInputError: for a column that does not hold numbers.
        """
        if isinstance(self.held, np.ndarray):
            return self.held
        columns = []
        for name in self.names:
            try:
                columns.append(self.held[name].to_numpy().astype(np.float64))
            except (TypeError, ValueError) as error:
                raise InvalidInputError(
                    f"column '{name}' of '{self.path}' does not hold numbers; encode it as the "
                    "model expects it"
                ) from error
        return np.stack(columns, axis=1)

    def frame(self) -> DataFrame:
        """The rows of a table as raw columns.

        Raises:
            InvalidInputError: for images, or if there are not as many names as columns.
        """
        if not isinstance(self.held, np.ndarray):
            return self.held
        return as_frame(self.held, self.names, f"rows of '{self.path}'")


def as_frame(rows: NDArray[Any], names: Sequence[str], what: str) -> DataFrame:
    """Rows (n, d) as a DataFrame.

    Raises:
        InvalidInputError: if they are not a table, or there are not as many names as columns.
    """
    if rows.ndim != 2 or len(names) not in (0, rows.shape[1]):
        raise InvalidInputError(
            f"the {what} are of shape {rows.shape}; a table (n, d) was expected"
            + (f" with {len(names)} columns" if names else "")
        )
    columns = list(names) or [f"x{at}" for at in range(rows.shape[1])]
    return require("pandas", "benchmark").DataFrame(rows, columns=columns)


def read_data(path: Path, columns: Sequence[str] = ()) -> DataFile:
    """Rows from a file.

    Args:
        path: an `.npz` with an array `rows` and optionally `background` and `feature_names`, or a
            `.parquet` with a column for each feature.
        columns: the columns to read from a parquet file, in this order; all by default.

    Raises:
        InvalidInputError: if the file does not exist or has other content.
    """
    readers = {".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise InvalidInputError(f"data must be an .npz or a .parquet file; '{path}' is neither")
    if not path.is_file():
        raise InvalidInputError(f"there is no file '{path}'")
    return readers[path.suffix](path, columns)


def _read_npz(path: Path, columns: Sequence[str]) -> DataFile:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:
        raise InvalidInputError(f"'{path}' cannot be read as .npz: {error}") from error
    if "rows" not in arrays:
        found = ", ".join(arrays) or "nothing"
        raise InvalidInputError(f"'{path}' holds no array named rows; it holds {found}")
    names = tuple(str(name) for name in arrays.get("feature_names", ()))
    return DataFile(path, arrays["rows"], arrays.get("background"), names)


def _read_parquet(path: Path, columns: Sequence[str]) -> DataFile:
    pyarrow = require("pyarrow", "benchmark")
    parquet = require("pyarrow.parquet", "benchmark")
    require("pandas", "benchmark")
    try:
        # A pandas index is read back as an index: it is not a feature.
        frame = parquet.read_table(path).to_pandas()
    except (OSError, pyarrow.ArrowException) as error:
        raise InvalidInputError(f"'{path}' cannot be read as parquet: {error}") from error
    frame.columns = [str(name) for name in frame.columns]
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InvalidInputError(f"'{path}' has two columns called '{twice[0]}'")
    names = tuple(columns) or tuple(frame.columns)
    missing = [name for name in names if name not in frame.columns]
    if missing:
        unknown = [name for name in frame.columns if name not in names]
        hints = [
            f"; is '{near}' meant for '{name}'?"
            for name in missing
            for near in difflib.get_close_matches(name, unknown, n=1)
        ]
        raise InvalidInputError(
            f"'{path}' lacks {len(missing)} of the model's {len(names)} columns: "
            f"{', '.join(missing)}{''.join(hints)}"
        )
    return DataFile(path, frame[list(names)].reset_index(drop=True), None, names)
