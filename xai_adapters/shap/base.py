"""The base of our SHAP explainers: background rows in, `shap.Explanation` out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import shap
from torch import Tensor

from xai_adapters.features.array_black_box import ArrayBlackBox, flat_rows, like_rows
from xai_adapters.features.columns import column_names, in_order_of
from xai_adapters.model.outputs import OutputType, check_output_type
from xai_adapters.utils.options import check_number, named_options, shown

# Options of how shap's explainers sample; ours ignore them.
IGNORED_BY_CALL = frozenset(
    {"max_evals", "main_effects", "error_bounds", "batch_size", "silent", "nsamples"}
)


class BackgroundExplainer(shap.Explainer):
    """The base of both explainers: a model, background rows, and the host's `Explanation`.

    Args:
        model: see `FIMAPExplainer`, like the other arguments.
        background: (n, ...) rows, None for none.
        feature_names: by default a DataFrame's columns.
        output_names: names of the K classes.
        output_type: of the model's numbers.
        threshold: for a model with one number per row.
        options: of the algorithm, shown in the `repr`.

    Attributes:
        expected_value: the mean probability of each class (K,) over the background, or of class 1
            where the model has one output; 0 without a background.
    """

    def __init__(
        self,
        model: Any,
        background: Any,
        feature_names: Sequence[str] | None,
        output_names: Sequence[str] | None,
        output_type: OutputType,
        threshold: float | None,
        options: Mapping[str, Any],
    ) -> None:
        check_output_type(output_type)
        check_number("threshold", threshold, optional=True)
        self._options = {
            "feature_names": feature_names,
            "output_type": output_type,
            "threshold": threshold,
            **options,
        }
        self._columns = column_names(background)
        background, names = _rows_of(background)
        # No masker, as no feature is ever left out.
        super().__init__(
            model,
            None,
            feature_names=names if feature_names is None else list(feature_names),
            output_names=output_names,
        )
        self._output_form: dict[str, Any] = {"output_type": output_type, "threshold": threshold}
        self.expected_value: Any = 0.0
        if background is not None:
            rows, shape = flat_rows(background)
            black_box = self._black_box(shape)
            probabilities = black_box.probabilities(rows)
            self._output_form |= {
                "output_type": black_box.resolved_output_type,
                "classes": black_box.classes,
            }
            mean = probabilities.mean(dim=0)
            single = black_box.has_single_output
            self.expected_value = mean[1].item() if single else mean.cpu().numpy()
            self._fit(rows, probabilities, black_box)

    def __repr__(self) -> str:
        """The options that differ from their defaults."""
        return shown(self, self._options)

    def _fit(self, rows: Tensor, probabilities: Tensor, black_box: ArrayBlackBox) -> None:
        """Fit to background rows (n, d) and the model's class probabilities (n, K) of them."""
        raise NotImplementedError

    @named_options(tolerated=IGNORED_BY_CALL)
    def __call__(self, X: Any, **ignored: object) -> Any:
        """Explain rows.

        Args:
            X: (n, ...) array, tensor or DataFrame of numbers; the columns of a DataFrame may stand
                in another order than those of the background.
            **ignored: options of how shap's explainers sample (`max_evals`, `silent` and others),
                which have no effect.

        Returns:
            A `shap.Explanation`, whose values the class describes.

        Raises:
            InvalidInputError: for rows that cannot be used.
            PredictorError: if the model does not return one answer per row.
            UnknownOptionError: for an option that shap's explainers do not have either.
        """
        held, names = _rows_of(in_order_of(X, self._columns))
        rows, shape = flat_rows(held)
        values, base_values = self._values(rows, shape, self._black_box(shape))
        return shap.Explanation(
            values,
            # Copies: an explanation does not change with what it was made from.
            base_values=base_values.copy(),
            data=like_rows(rows, shape).copy(),
            feature_names=copy(self.feature_names) if names is None else names,
            output_names=copy(self.output_names),
        )

    def _values(
        self, rows: Tensor, shape: tuple[int, ...], black_box: ArrayBlackBox
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Values (n, ...) or (n, ..., K) and base values (n,) or (n, K)."""
        raise NotImplementedError

    @named_options(tolerated=IGNORED_BY_CALL)
    def shap_values(self, X: Any, **ignored: object) -> Any:
        """Return only the values: (n, ...) or (n, ..., K), or those of a single row (d,).

        Args:
            X: as for calling the explainer.
            **ignored: as for calling the explainer.

        Raises:
            InvalidInputError: for rows that cannot be used.
            PredictorError: if the model does not return one answer per row.
            UnknownOptionError: for an option that shap's explainers do not have either.
        """
        if np.ndim(X) == 1:
            return self(np.asarray(X)[None]).values[0]
        return self(X).values

    def _black_box(self, shape: tuple[int, ...]) -> ArrayBlackBox:
        return ArrayBlackBox(self.model, row_shape=shape, **self._output_form)


def _rows_of(background: Any) -> tuple[Any, list[str] | None]:
    """Rows and feature names, from rows or a masker that holds them."""
    if hasattr(background, "columns"):
        return background.to_numpy(), [str(name) for name in background.columns]
    if hasattr(background, "data") and not isinstance(background, np.ndarray | Tensor):
        return background.data, getattr(background, "feature_names", None)
    return background, None
