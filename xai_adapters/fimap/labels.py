"""The classes of the black box: recorded labels, and the same numbering in `fit` and `perturb`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError
from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.model.black_box import BlackBox, as_black_box


def recorded_black_box(labels: Any, rows: Tensor, black_box: BlackBox | None) -> BlackBox:
    """A black box that returns the labels recorded for these rows.

    Args:
        labels: (n,) classes or (n, K) probabilities.
        rows: (n, d) the rows they were recorded for.
        black_box: the one they come from, if it is at hand: both number the classes alike.
    """
    classes: Sequence[Any] | None = black_box.classes if black_box else None
    answers = labels if isinstance(labels, Tensor) else np.asarray(labels)
    if black_box is not None and classes is None and answers.ndim == 1 and _are_integers(answers):
        # The black box may give probabilities, whose columns these numbers are.
        classes = list(range(int(answers.max()) + 1)) if len(answers) else None
    recorded = BlackBox(lambda _: answers, classes=classes, batch_size=len(rows))
    if black_box is not None and black_box.classes is None:
        recorded.labels(rows)
        black_box.classes = recorded.classes
    return recorded


def _are_integers(labels: Tensor | np.ndarray[Any, Any]) -> bool:
    if isinstance(labels, Tensor):
        return not labels.is_floating_point() and labels.dtype != torch.bool
    return labels.dtype.kind in "iu"


def black_box_as_in_fit(fitted: FittedNetworks, black_box: BlackBox | Any) -> BlackBox:
    """A black box that numbers its classes, and whose outputs are read, as in `fit`.

    Raises:
        InvalidInputError: for a `BlackBox` that numbers its classes otherwise.
    """
    box = as_black_box(black_box, output_type=fitted.output_type)
    if fitted.classes is not None:
        if box.classes is None:
            box.classes = list(fitted.classes)
        elif box.classes[: len(fitted.classes)] != fitted.classes:
            raise InvalidInputError(
                f"the black box numbers its classes {box.classes!r:.60}, in fit they were "
                f"{fitted.classes!r:.60}; hand over the BlackBox of fit, or give it `classes`"
            )
    return box


def check_original_class(original_class: Tensor, n_rows: int, n_classes: int) -> None:
    """Raise `InvalidInputError` unless there is one class of those fitted for each row."""
    if len(original_class) != n_rows:
        raise InvalidInputError(
            f"original_class has {len(original_class)} classes for {n_rows} rows"
        )
    low, high = original_class.aminmax()
    if low.item() < 0 or high.item() >= n_classes:
        unknown = (original_class < 0) | (original_class >= n_classes)
        row = int(unknown.nonzero()[0])
        raise InvalidInputError(
            f"row {row} has class {int(original_class[row])}; fit saw the classes 0 to "
            f"{n_classes - 1} only: fit on rows of every class"
        )


def target_classes(target: Any, n_rows: int, n_classes: int) -> Tensor:
    """The class (n,) each row is to reach, from one number or one for each row; a copy.

    Raises:
        InvalidInputError: for anything else, and for a class that fit did not see.
    """
    try:
        classes = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"target must be 'other', a class number, or one for each row; it is {target!r:.60}"
        ) from error
    if classes.is_floating_point() or classes.numel() not in (1, n_rows):
        raise InvalidInputError(
            f"target must be 'other', a class number, or one for each of the {n_rows} rows; "
            f"it is {classes.dtype} of shape {tuple(classes.shape)}"
        )
    outside = (classes < 0) | (classes >= n_classes)
    if outside.any():
        raise InvalidInputError(
            f"target {int(classes[outside].flatten()[0])} is not one of the classes 0 to "
            f"{n_classes - 1}"
        )
    return classes.to(torch.int64).flatten().expand(n_rows).clone()
