"""FIMAP as a SHAP explainer."""

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
from xai_adapters.features.standardization import standardization
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.fimap.attributions import targeted_attributions
from xai_adapters.fimap.settings import FittingOptions
from xai_adapters.model.outputs import OutputType
from xai_adapters.shap.base import BackgroundExplainer
from xai_adapters.utils.options import named_options


class FIMAPExplainer(BackgroundExplainer):
    """FIMAP, fitted to the background: values point in the direction of a class.

    For each class, `values` (n, ..., K) are the smallest perturbation of a row that reaches it, and
    for the row's own class the negative of the smallest one that leaves it. A model with one number
    per row has only one direction, up, and values (n, ...). The unit is the standard deviation of
    the background's columns: `unit` (d,) times the values is the change of the features.

    The algorithm is `xai_adapters.MinimalPerturbation`.

    Args:
        model: a function of arrays, a torch module, an estimator, or whatever else `BlackBox`
            takes.
        background: (n, ...) rows to fit to, some hundreds or more: an array, a DataFrame, or a
            masker that holds them (`shap.maskers.Independent` keeps 100 unless `max_samples` is
            larger).
        feature_names: by default a DataFrame's columns.
        output_names: names of the K classes.
        output_type: whether the model's numbers are "probabilities" or "logits"; "auto" looks at
            their range.
        threshold: for a model with one number per row, the value that separates its two classes.
        schema: what the columns are and how each may change; see `MinimalPerturbation`.
        **options: see `MinimalPerturbation`; `scale="shared"` and `noise=1` suit images.

    Raises:
        ConstantPredictorError: if the model gives all of the background the same class.
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for a background that cannot be used, or an option of the wrong type or
            out of range.
        PredictorError: if the model does not return one answer per row.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> explanation = FIMAPExplainer(lambda X: X[:, 0], X, epochs=5)(X[:3])
        >>> explanation.values.shape, explanation.base_values.shape
        ((3, 2), (3,))
        >>> bool((explanation.values[:, 0] > 0).all())
        True
    """

    @named_options(MinimalPerturbation)
    def __init__(
        self,
        model: Any,
        background: Any,
        *,
        feature_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        schema: FeatureSchema | None = None,
        **options: Unpack[FittingOptions],
    ) -> None:
        self._fimap = MinimalPerturbation(schema=schema, **options)
        if background is None:
            raise InvalidInputError("FIMAPExplainer needs background rows to fit to, is given None")
        super().__init__(
            model,
            background,
            feature_names,
            output_names,
            output_type,
            threshold,
            {"output_names": output_names, "schema": schema, **options},
        )

    def _fit(self, rows: Tensor, probabilities: Tensor, black_box: ArrayBlackBox) -> None:
        self._fimap.fit(rows, black_box, labels=probabilities)
        schema = self._fimap.schema
        numbers = [f.column for f in schema.continuous] if schema else list(range(rows.shape[1]))
        # A category changes or does not; it has no spread.
        self.unit = torch.ones(rows.shape[1], dtype=rows.dtype)
        _, spread = standardization(rows[:, numbers], shared=self._fimap.settings.scale == "shared")
        self.unit[numbers] = spread.to(self.unit)

    def _values(
        self, rows: Tensor, shape: tuple[int, ...], black_box: ArrayBlackBox
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        original_class = black_box.labels(rows)
        single = black_box.has_single_output
        targets = [1] if single else range(np.size(self.expected_value))
        attributions = torch.stack(
            [
                targeted_attributions(
                    self._fimap, rows, original_class, torch.full_like(original_class, target)
                )
                for target in targets
            ],
            dim=2,
        )
        n_targets = len(targets)
        values = like_rows(attributions / self.unit[:, None], (*shape, n_targets))
        base_values = np.broadcast_to(self.expected_value, (len(rows), n_targets))
        return (values[..., 0], base_values[:, 0]) if single else (values, base_values)
