"""A task from a model and rows, as Python objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xai_adapters.benchmark.tasks.predictions import class_probabilities
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.black_box import BlackBox
from xai_adapters.utils.rows import require_finite

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
    """A task from your own model and rows.

    Args:
        model: a torch module giving class logits or probabilities, an estimator with
            `predict_proba` or `predict`, or a function of an array of rows giving class
            probabilities.
        rows: (n, d) table or (n, channels, height, width) images in [0, 1], as tensor or array.
        background: (m, ...) rows for explainers that are fitted or need a reference; by default the
            rows beyond the limit, or all rows if there are none.
        name: name of the task in results.
        description: data and model in one sentence.
        class_names: one for each of the model's outputs.
        feature_names: one for each column.
        schema: what the columns are; with it, counterfactuals are compared instead of attributions.
        limit: largest number of rows to explain, the first ones; 100 by default.
        mask_value: value of masked pixels.

    Raises:
        InvalidInputError: for rows of another shape or type, or with NaN.
        PredictorError: if the model fails on the rows.

    Example:
        >>> import numpy as np
        >>> task = task_of(lambda X: np.stack((X[:, 0] < 0, X[:, 0] >= 0), 1) * 1.0, np.eye(4))
        >>> (task.kind, len(task.rows), task.class_names)
        ('tabular', 4, ('class 0', 'class 1'))
    """
    limit = DEFAULT_LIMIT if limit is None else limit
    if limit < 1:
        raise InvalidInputError(f"limit must be at least 1, is {limit}")
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
    n_classes = class_probabilities(task, black_box).shape[1]
    known = class_names or [str(label) for label in black_box.classes or ()]
    names = tuple(known) or tuple(f"class {number}" for number in range(n_classes))
    if len(names) != n_classes:
        raise InvalidInputError(f"{len(names)} class names for a model with {n_classes} outputs")
    return Task(**{**vars(task), "class_names": names})


def _usable(rows: Any, what: str, names: Sequence[str]) -> Tensor:
    """Rows as a checked float32 tensor."""
    try:
        found = torch.as_tensor(rows).to(torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"the {what} are not numbers: {error}") from error
    if found.ndim not in (2, 4) or not len(found):
        raise InvalidInputError(
            f"the {what} must be a table (n, d) or images (n, channels, height, width) of at least "
            f"one row; they are of shape {tuple(found.shape)}"
        )
    require_finite(found, f"'{what}'", names)
    if found.ndim == 4 and (found.min() < 0 or found.max() > 1):
        raise InvalidInputError(
            f"images must lie in [0, 1]; the {what} lie in [{float(found.min()):.3g}, "
            f"{float(found.max()):.3g}]. Scale them, and let the model normalise them itself"
        )
    return found
