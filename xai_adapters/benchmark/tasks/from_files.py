"""A task from a model that can be imported and rows in a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xai_adapters.benchmark.tasks.from_python import task_of
from xai_adapters.benchmark.tasks.from_table import encoded_table
from xai_adapters.benchmark.tasks.row_files import as_frame, read_data
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.utils.references import describe_error, resolve


def model_of(reference: str) -> Any:
    """The model that "module:attribute" names: itself, or what the function there returns.

    A function that cannot be called without arguments is itself a model, of an array of rows.

    Raises:
        InvalidInputError: if it cannot be imported or made.
    """
    found = resolve(reference)
    is_model = isinstance(found, nn.Module) or hasattr(found, "predict_proba")
    if is_model and not isinstance(found, type):
        return found
    if not callable(found):
        raise InvalidInputError(
            f"'{reference}' is a {type(found).__name__}; a model, or a function without arguments "
            "that makes one, was expected"
        )
    if not isinstance(found, type) and _needs_arguments(found):
        return found
    try:
        return found()
    except Exception as error:
        raise InvalidInputError(f"'{reference}' made no model: {describe_error(error)}") from error


def _needs_arguments(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    # What has no signature tells nothing.
    except (TypeError, ValueError) as error:
        return isinstance(error, TypeError)
    return False


def task_from_files(
    model: str,
    data: Path,
    *,
    background: Path | None = None,
    limit: int | None = None,
    mask_value: float = 0.5,
    device: torch.device | str = "cpu",
    counterfactuals: bool = False,
    immutable: Sequence[str] = (),
    categories: Sequence[str] = (),
) -> Task:
    """The task of a model and rows in a file; see `task_of`.

    Args:
        model: "module:attribute" of the model, or of a function that makes it.
        data: the rows to explain; see `read_data`.
        background: rows that explainers are fitted to.
        limit: explain at most so many rows, the first; by default 100.
        mask_value: what a masked pixel is set to.
        device: where module and rows are.
        counterfactuals: compare counterfactuals, with the schema that `encoded_table` makes of the
            columns. If some of them are text, the model is given DataFrames.
        immutable: then, names of the features that may not change.
        categories: then, names of the features that are categories though they hold numbers.

    Raises:
        UnknownNameError: for a feature that is not there.
        InvalidInputError: for what cannot be used.
        PredictorError: if the model cannot be asked about the rows.
    """
    found = model_of(model)
    wanted = tuple(str(name) for name in getattr(found, "feature_names_in_", ()))
    read = read_data(data, wanted)
    other = None if background is None else read_data(background, read.names or wanted)
    rows: Any
    reference: Any
    schema: FeatureSchema | None = None
    if counterfactuals:
        beside = None if other is None else other.frame()
        if other is None and read.background is not None:
            beside = as_frame(read.background, tuple(read.frame()), f"background of '{data}'")
        table = encoded_table(found, read.frame(), beside, immutable, categories)
        found, rows, reference, schema = table.model, table.rows, table.background, table.schema
        names = schema.names
    else:
        rows, names = read.numbers(), read.names
        reference = read.background if other is None else other.numbers()
    if isinstance(found, nn.Module):
        found.to(device)
    return task_of(
        found,
        torch.as_tensor(rows).to(device),
        background=None if reference is None else torch.as_tensor(reference).to(device),
        name=f"{model} on {data.name}",
        description=f"{model} on rows of {data.name}",
        feature_names=names,
        schema=schema,
        limit=limit,
        mask_value=mask_value,
    )
