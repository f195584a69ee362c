"""The predictions of a task's model."""

from __future__ import annotations

from torch import Tensor

from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import PredictorError
from xai_adapters.model.black_box import BlackBox


def class_probabilities(task: Task, black_box: BlackBox) -> Tensor:
    """Class probabilities (n, K) of the rows to explain.

    Raises:
        PredictorError: if the model fails on them, with the first row it fails on.
    """
    try:
        return black_box.probabilities(task.rows)
    except Exception as error:
        row, reason = _first_failure(task.rows, black_box, error)
        which = "all rows in one batch, though on no single row" if row is None else f"row {row}"
        raise PredictorError(
            f"the model fails on {which}: {type(reason).__name__}: {reason}. It is called on all "
            "rows before any is explained; leave out the row, or fix the model"
        ) from error


def _first_failure(
    rows: Tensor, black_box: BlackBox, error: Exception
) -> tuple[int | None, Exception]:
    for row in range(len(rows)):
        try:
            black_box.probabilities(rows[row : row + 1])
        except Exception as found:
            return row, found
    return None, error
