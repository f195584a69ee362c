"""Tasks of other people's models and rows: from Python, and from files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xai_adapters.benchmark.bench import probabilities_of
from xai_adapters.benchmark.references import referred
from xai_adapters.benchmark.task import Task
from xai_adapters.core.black_box import BlackBox
from xai_adapters.core.features import FeatureSchema
from xai_adapters.errors import InvalidInputError, require

DEFAULT_LIMIT = 100


def task_of(
    model: Any,
    rows: Any,
    *,
    background: Any = None,
    name: str = "own",
    description: str = "",
    class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
    schema: FeatureSchema | None = None,
    limit: int | None = None,
    mask_value: float = 0.5,
) -> Task:
    """A task of a model and rows of yours.

    Args:
        model: a torch module giving class logits or probabilities, an estimator with
            `predict_proba` or `predict`, or a function of an array of rows giving class
            probabilities.
        rows: (n, d) table or (n, channels, height, width) images in [0, 1], as tensor or array.
        background: (m, ...) rows like those, for explainers that are fitted or need a reference;
            by default the rows beyond the limit, and all of them if there are none.
        name: of the task, in results.
        description: of data and model in one sentence.
        class_names: one for each of the model's outputs.
        feature_names: one for each column.
        schema: what the columns are; with it counterfactuals are compared, without it attributions.
        limit: explain at most so many rows, the first; by default 100.
        mask_value: what a masked pixel is set to.

    Raises:
        InvalidInputError: for rows that are no numbers of such a shape, or hold NaN.
        PredictorError: if the model cannot be asked about the rows.

    Example:
        >>> task = task_of(lambda X: np.stack((X[:, 0] < 0, X[:, 0] >= 0), 1) * 1.0, np.eye(4))
        >>> (task.kind, len(task.rows), task.class_names)
        ('tabular', 4, ('class 0', 'class 1'))
    """
    limit = DEFAULT_LIMIT if limit is None else limit
    if limit < 1:
        raise InvalidInputError(f"limit must be at least 1 row, not {limit}")
    given = _usable(rows, "rows", feature_names)
    rest = given[limit:] if len(given) > limit else given
    reference = rest if background is None else _usable(background, "background", feature_names)
    if reference.shape[1:] != given.shape[1:]:
        raise InvalidInputError(
            f"background rows of shape {tuple(reference.shape[1:])} do not go with rows of shape "
            f"{tuple(given.shape[1:])}"
        )
    if isinstance(model, nn.Module):
        model.eval()
    kind: Literal["image", "tabular"] = "image" if given.ndim == 4 else "tabular"
    task = Task(
        name, description, kind, model, given[:limit], reference, (), mask_value,
        tuple(feature_names), schema=schema,
    )  # fmt: skip
    black_box = BlackBox(model)
    n_classes = probabilities_of(task, black_box).shape[1]
    known = class_names or [str(label) for label in black_box.classes or ()]
    names = tuple(known) or tuple(f"class {number}" for number in range(n_classes))
    if len(names) != n_classes:
        raise InvalidInputError(f"{len(names)} class names for a model with {n_classes} outputs")
    return Task(**{**vars(task), "class_names": names})


def _usable(rows: Any, what: str, names: Sequence[str]) -> Tensor:
    """Rows as a float32 tensor, if they are numbers and of a shape that can be explained."""
    try:
        found = torch.as_tensor(rows).to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"the {what} are not numbers: {error}") from error
    if found.ndim not in (2, 4) or not len(found):
        raise InvalidInputError(
            f"the {what} must be a table (n, d) or images (n, channels, height, width) of at least "
            f"one row; they are of shape {tuple(found.shape)}"
        )
    bad = ~torch.isfinite(found)
    if bad.any():
        n_bad, place = int(bad.flatten(1).any(dim=1).sum()), bad.nonzero()[0].tolist()
        column = names[place[1]] if found.ndim == 2 and names else f"{place[1:]}".strip("[]")
        raise InvalidInputError(
            f"the {what} hold NaN or infinity: first in row {place[0]}, column {column}; "
            f"{n_bad} of {len(found)} rows are affected. Fill the gaps or drop those rows"
        )
    if found.ndim == 4 and (found.min() < 0 or found.max() > 1):
        raise InvalidInputError(
            f"images must lie in [0, 1]; the {what} lie in [{float(found.min()):.3g}, "
            f"{float(found.max()):.3g}]. Scale them, and let the model normalise them itself"
        )
    return found


def model_of(reference: str) -> Any:
    """The model that "module:attribute" names: itself, or what the function there returns.

    Raises:
        InvalidInputError: if it cannot be imported or made.
    """
    found = referred(reference)
    is_model = isinstance(found, nn.Module) or hasattr(found, "predict_proba")
    if is_model and not isinstance(found, type):
        return found
    if not callable(found):
        raise InvalidInputError(
            f"'{reference}' is a {type(found).__name__}; a model, or a function without arguments "
            "that makes one, was expected"
        )
    try:
        return found()
    except Exception as error:
        raise InvalidInputError(
            f"'{reference}' made no model: {type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True)
class DataFile:
    """What a file of rows holds.

    Args:
        rows: (n, ...) numbers.
        background: (m, ...) numbers, if it holds some.
        names: of the columns, if it tells them.
    """

    rows: NDArray[Any]
    background: NDArray[Any] | None = None
    names: tuple[str, ...] = ()


def read_data(path: Path, columns: Sequence[str] = ()) -> DataFile:
    """Rows from a file.

    Args:
        path: an `.npz` with an array `rows`, and perhaps `background` and `feature_names`; or a
            `.parquet` with a column of numbers for each feature.
        columns: of a parquet file those that are wanted, in this order; all by default.

    Raises:
        InvalidInputError: if the file is not there or holds something else.
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
    return DataFile(arrays["rows"], arrays.get("background"), names)


def _read_parquet(path: Path, columns: Sequence[str]) -> DataFile:
    pyarrow = require("pyarrow", "benchmark")
    parquet = require("pyarrow.parquet", "benchmark")
    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InvalidInputError(f"'{path}' cannot be read as parquet: {error}") from error
    names = tuple(columns) or tuple(table.column_names)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        unknown = [name for name in table.column_names if name not in names]
        hints = [
            f"; is '{near}' meant for '{name}'?"
            for name in missing
            for near in difflib.get_close_matches(name, unknown, n=1)
        ]
        raise InvalidInputError(
            f"'{path}' lacks {len(missing)} of the model's {len(names)} columns: "
            f"{', '.join(missing)}{''.join(hints)}"
        )
    arrays = []
    for name in names:
        try:
            values = table.column(name).to_numpy()
            arrays.append(values.astype(np.float64))
        except (TypeError, ValueError, pyarrow.ArrowException) as error:
            raise InvalidInputError(
                f"column '{name}' of '{path}' is not of numbers; encode it as the model wants it"
            ) from error
    return DataFile(np.stack(arrays, axis=1), None, names)


def task_from_files(
    model: str,
    data: Path,
    *,
    background: Path | None = None,
    limit: int | None = None,
    mask_value: float = 0.5,
    device: torch.device | str = "cpu",
) -> Task:
    """The task of a model named "module:attribute" and rows in a file; see `task_of`."""
    found = model_of(model)
    columns = tuple(str(name) for name in getattr(found, "feature_names_in_", ()))
    read = read_data(data, columns)
    reference = read.background
    if background is not None:
        reference = read_data(background, columns).rows
    if isinstance(found, nn.Module):
        found.to(device)
    return task_of(
        found,
        torch.as_tensor(read.rows).to(device),
        background=None if reference is None else torch.as_tensor(reference).to(device),
        name=f"{model} on {data.name}",
        description=f"{model} on rows of {data.name}",
        feature_names=read.names,
        limit=limit,
        mask_value=mask_value,
    )
