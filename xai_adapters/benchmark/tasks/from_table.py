"""Other people's tables as rows with a schema, and models that want the columns as they were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xai_adapters.errors import InvalidInputError, require
from xai_adapters.features.frames import to_dataframe
from xai_adapters.features.inference import infer_schema, is_encoded
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.estimators import wrap_method

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class EncodedTable:
    """A model with rows that it can be asked about.

    Args:
        model: asked about rows (n, d).
        rows: (n, d) float32.
        background: (m, d) float32, if there is some.
        schema: what the columns are.
    """

    model: Any
    rows: Tensor
    background: Tensor | None
    schema: FeatureSchema


def encoded_table(
    model: Any,
    rows: DataFrame,
    background: DataFrame | None,
    immutable: Sequence[str],
    categories: Sequence[str],
) -> EncodedTable:
    """Rows with the schema of their columns.

    If all columns are of numbers, the model is given them as they are. If some hold text, rows are
    encoded one-hot, and the model is given DataFrames again.

    Args:
        model: a module, an estimator or a function, of arrays or of DataFrames.
        rows: raw columns.
        background: the same columns of other rows; they count for ranges and categories too.
        immutable: names of the features that may not change.
        categories: names of the features that are categories though they hold numbers.

    Raises:
        UnknownNameError: for a feature that is not there.
        InvalidInputError: for columns that cannot be used, with the first such row.
    """
    frames = [rows] if background is None else [rows, background]
    pandas = require("pandas", "benchmark")
    together = pandas.concat(frames, ignore_index=True)
    schema = infer_schema(together, immutable=immutable, categories=categories)
    if is_encoded(together):
        held = [torch.from_numpy(frame.to_numpy(np.float32)) for frame in frames]
    else:
        held = [schema.to_rows(frame) for frame in frames]
        model = FrameModel(model, schema)
    return EncodedTable(model, held[0], held[1] if len(held) > 1 else None, schema)


class FrameModel:
    """A model of DataFrames, asked about the rows that a schema makes of them.

    Args:
        model: an estimator, or a function of a DataFrame.
        schema: of the rows.
    """

    def __init__(self, model: Any, schema: FeatureSchema) -> None:
        if isinstance(model, torch.nn.Module):
            raise InvalidInputError(
                "a torch module cannot be given text; encode those columns as it wants them"
            )
        self.model, self.schema = model, schema

    def __getattr__(self, name: str) -> Any:
        """What the model has; its methods that answer are given DataFrames."""
        if name.startswith("__") or name in ("model", "schema"):
            raise AttributeError(name)
        return wrap_method(self._ask, name, getattr(self.model, name))

    def __call__(self, rows: NDArray[Any]) -> Any:
        """What a function says of rows."""
        return self._ask(self.model, rows)

    def _ask(self, ask: Callable[[DataFrame], Any], rows: NDArray[Any]) -> Any:
        return ask(to_dataframe(self.schema.features, torch.as_tensor(rows)))
