"""DataFrames as rows with a schema, and models that take DataFrames as black boxes of rows."""

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
    """A model of encoded rows, with such rows.

    Args:
        model: a model of rows (n, d).
        rows: (n, d) float32.
        background: (m, d) float32, if any.
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
    """Encode a table, and infer the schema of its columns.

    If all columns hold numbers, the model gets them as they are. If some hold text, rows are
    encoded one-hot, and decoded to DataFrames for the model.

    Args:
        model: a module, an estimator or a function, of arrays or of DataFrames.
        rows: raw columns.
        background: other rows with the same columns; ranges and categories include them.
        immutable: names of the features that may not change.
        categories: names of the categorical features that are stored as numbers.

    Raises:
        UnknownNameError: for a feature that does not exist.
        InvalidInputError: for columns that cannot be used, with the first bad row.
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
    """A model of DataFrames as a model of encoded rows.

    Args:
        model: an estimator, or a function of a DataFrame.
        schema: of the encoded rows.
    """

    def __init__(self, model: Any, schema: FeatureSchema) -> None:
        if isinstance(model, torch.nn.Module):
            raise InvalidInputError(
                "a torch module cannot be given text; encode those columns as the module expects"
            )
        self.model, self.schema = model, schema

    def __getattr__(self, name: str) -> Any:
        """An attribute of the model; its prediction methods get DataFrames."""
        if name.startswith("__") or name in ("model", "schema"):
            raise AttributeError(name)
        return wrap_method(self._ask, name, getattr(self.model, name))

    def __call__(self, rows: NDArray[Any]) -> Any:
        """The predictions of a function."""
        return self._ask(self.model, rows)

    def _ask(self, ask: Callable[[DataFrame], Any], rows: NDArray[Any]) -> Any:
        return ask(to_dataframe(self.schema.features, torch.as_tensor(rows)))
