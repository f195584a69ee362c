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
    """The model that "module:attribute" names, or that the function of that name returns.

    A function with required arguments is itself a model, of an array of rows.

    Raises:
        InvalidInputError: if it cannot be imported, or making it fails.
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
    # Some built-in functions have no signature.
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
    """A task from a model that can be imported and rows in a file; see `task_of`.

    Args:
        model: "module:attribute" of the model, or of a function that returns it.
        data: the rows to explain; see `read_data`.
        background: rows to fit explainers to.
        limit: largest number of rows to explain, the first ones; 100 by default.
        mask_value: value of masked pixels.
        device: of module and rows.
        counterfactuals: compare counterfactuals, with a schema that is inferred from the columns.
            If some of them hold text, the model gets DataFrames.
        immutable: names of the features that may not change; for counterfactuals.
        categories: names of the categorical features that are stored as numbers; for
            counterfactuals.

    Raises:
        UnknownNameError: for a feature that does not exist.
        InvalidInputError: for a model or data that cannot be used.
        PredictorError: if the model fails on the rows.
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
