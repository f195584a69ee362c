"""Maximal invariant perturbation as a SHAP explainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.array_black_box import ArrayBlackBox, like_rows
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.outputs import OutputType
from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.semifactual.settings import SemifactualOptions
from xai_adapters.shap.base import BackgroundExplainer
from xai_adapters.utils.options import named_options


class InvariantBoxExplainer(BackgroundExplainer):
    """Maximal invariant perturbation: values show how little a feature may move.

    The largest box is sought around each row in which its class stays the same. A feature's value
    (n, ...) is the largest width of that box minus its own, so it is never negative, and 0 for the
    least relevant feature. The unit of widths is the standard deviation of the background's
    columns, or the features' own unit without a background.

    The algorithm is `xai_adapters.InvariantBox`, on a torch module itself, or on the surrogate
    that FIMAP fits to any other model.

    Args:
        model: as for `FIMAPExplainer`.
        background: (n, ...) rows as for `FIMAPExplainer`; optional for a torch module with a
            gradient.
        feature_names: by default a DataFrame's columns.
        output_type: whether the model's numbers are "probabilities" or "logits"; "auto" looks at
            their range.
        threshold: for a model with one number per row, the value that separates its two classes.
        schema: what the columns are and how each may change, all continuous; see `SemifactualBox`.
        **options: see `SemifactualBox`.

    Raises:
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for a background that cannot be used, a schema with categories, or an
            option of the wrong type or out of range.
        PredictorError: if the model does not return one answer per row.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 2)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
        ...     _ = model.bias.zero_()
        >>> explanation = InvariantBoxExplainer(model)(np.array([[0.5, 0.5]]))
        >>> bool(explanation.values[0, 0] > 1), bool(explanation.values[0, 1] == 0)
        (True, True)
    """

    @named_options(SemifactualBox)
    def __init__(
        self,
        model: Any,
        background: Any = None,
        *,
        feature_names: Sequence[str] | None = None,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        schema: FeatureSchema | None = None,
        **options: Unpack[SemifactualOptions],
    ) -> None:
        self._box = SemifactualBox(schema=schema, **options)
        if schema is not None and schema.categorical:
            raise InvalidInputError(
                f"{schema.categorical[0].name} is categorical, and widths are of numbers only; "
                "FIMAPExplainer explains categories too"
            )
        super().__init__(
            model,
            background,
            feature_names,
            None,
            output_type,
            threshold,
            {"schema": schema, **options},
        )

    def _fit(self, rows: Tensor, probabilities: Tensor, black_box: ArrayBlackBox) -> None:
        self._box.fit(rows, black_box)

    def _values(
        self, rows: Tensor, shape: tuple[int, ...], black_box: ArrayBlackBox
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        box = self._box.solve(rows, black_box)
        expected = np.atleast_1d(self.expected_value)
        if len(expected) > 1:
            expected = expected[box.target.cpu().numpy()]
        scores, schema = box.scores(), self._box.schema
        if schema is not None:
            # Widths come in the order of the features, values in that of the columns.
            scores = scores[:, torch.tensor([f.column for f in schema.continuous]).argsort()]
        return like_rows(scores, shape), np.broadcast_to(expected, len(rows))
