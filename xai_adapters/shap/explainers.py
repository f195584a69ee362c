"""FIMAP and maximal invariant perturbation as SHAP explainers.

Importing this module imports shap. Calling an explainer gives a `shap.Explanation` that shap's
plots draw. Its values are not Shapley values, and with the base values they do not add up to the
output: they are lengths of moves, counted in the standard deviations of the background's columns,
so that features can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError, require
from xai_adapters.features.array_black_box import ArrayBlackBox, flat_rows, like_rows
from xai_adapters.features.standardization import standardization
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.fimap.attributions import targeted_attributions
from xai_adapters.model.outputs import OutputType
from xai_adapters.semifactual.explainer import SemifactualBox

require("shap", "shap")

import shap  # noqa: E402

__all__ = ["FIMAPExplainer", "InvariantBoxExplainer"]

# What shap's explainers are told of how they sample; ours have nothing to do with it.
_OF_SAMPLING = ("max_evals", "main_effects", "error_bounds", "batch_size", "silent", "nsamples")


class _Explainer(shap.Explainer):
    """What both explainers share: a model, its rows, and a `shap.Explanation` to fill.

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
    ) -> None:
        background, names = _rows_of(background)
        # No masker: nobody is asked about absent features.
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

    def _fit(self, rows: Tensor, probabilities: Tensor, black_box: ArrayBlackBox) -> None:
        """Fit to background rows (n, d) and what the model says of them (n, K)."""
        raise NotImplementedError

    def __call__(self, X: Any, **shap_settings: Any) -> Any:
        """Explain rows.

        Args:
            X: (n, ...) array, tensor or DataFrame of numbers.
            **shap_settings: what shap's explainers are told of how they sample (`max_evals`,
                `silent` and others); without effect.

        Returns:
            A `shap.Explanation`; the class says what its values are.

        Raises:
            InvalidInputError: for rows that cannot be used.
            PredictorError: if the model does not answer properly.
        """
        for name in shap_settings:
            if name not in _OF_SAMPLING:
                raise TypeError(f"{type(self).__name__} got an unexpected argument '{name}'")
        held, names = _rows_of(X)
        rows, shape = flat_rows(held)
        values, base_values = self._values(rows, shape, self._black_box(shape))
        return shap.Explanation(
            values,
            base_values=base_values,
            data=like_rows(rows, shape),
            feature_names=self.feature_names if names is None else names,
            output_names=self.output_names,
        )

    def _values(
        self, rows: Tensor, shape: tuple[int, ...], black_box: ArrayBlackBox
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Values (n, ...) or (n, ..., K) and base values (n,) or (n, K)."""
        raise NotImplementedError

    def shap_values(self, X: Any, **shap_settings: Any) -> Any:
        """Return the values alone: (n, ...) or (n, ..., K), and for a single row (d,) of (d,).

        Raises:
            InvalidInputError: for rows that cannot be used.
            PredictorError: if the model does not answer properly.
        """
        if np.ndim(X) == 1:
            return self(np.asarray(X)[None], **shap_settings).values[0]
        return self(X, **shap_settings).values

    def _black_box(self, shape: tuple[int, ...]) -> ArrayBlackBox:
        return ArrayBlackBox(self.model, row_shape=shape, **self._output_form)


class FIMAPExplainer(_Explainer):
    """FIMAP, fitted to the background: values point towards a class.

    For each class, `values` (n, ..., K) are the smallest perturbation of a row that reaches it,
    and for the row's own class minus the smallest that leaves it; a model with one output number a
    row has one direction, up, and values (n, ...). They are counted in standard deviations of the
    background's columns; `unit` (d,) times them is what the features would have to change by.

    The algorithm is `xai_adapters.MinimalPerturbation`.

    Args:
        model: a function of arrays, a torch module, an estimator, or whatever else `BlackBox`
            takes.
        background: (n, ...) rows to fit to, some hundreds or more: an array, a DataFrame, or a
            masker that holds them (`shap.maskers.Independent` keeps 100 unless told
            `max_samples`).
        feature_names: by default a DataFrame's columns.
        output_names: names of the K classes.
        output_type: what the model's numbers are: "probabilities", "logits", or "auto".
        threshold: of a model with one number a row.
        **settings: those of `MinimalPerturbation`; `scale="shared"` and `noise=1` for images.

    Raises:
        ConstantPredictorError: if the model gives the whole background one class.
        InvalidInputError: for a background or settings that cannot be used.
        PredictorError: if the model does not answer properly.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> explanation = FIMAPExplainer(lambda X: X[:, 0], X, epochs=5)(X[:3])
        >>> explanation.values.shape, explanation.base_values.shape
        ((3, 2), (3,))
        >>> bool((explanation.values[:, 0] > 0).all())
        True
    """

    def __init__(
        self,
        model: Any,
        background: Any,
        *,
        feature_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        self._fimap = MinimalPerturbation(**settings)
        if background is None:
            raise InvalidInputError("FIMAPExplainer is fitted to background rows: hand them over")
        super().__init__(model, background, feature_names, output_names, output_type, threshold)

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
        towards = torch.stack(
            [
                targeted_attributions(
                    self._fimap, rows, original_class, torch.full_like(original_class, target)
                )
                for target in targets
            ],
            dim=2,
        )
        values = like_rows(towards / self.unit[:, None], (*shape, towards.shape[2]))
        base_values = np.broadcast_to(self.expected_value, (len(rows), towards.shape[2]))
        return (values[..., 0], base_values[:, 0]) if single else (values, base_values)


class InvariantBoxExplainer(_Explainer):
    """Maximal invariant perturbation: values say how little a feature may move.

    Around each row lies the largest box in which its class stays; a feature's value (n, ...) is
    the largest width of that box minus its own, so it is not negative, and 0 for the least
    relevant feature. Widths are counted in standard deviations of the background's columns, or in
    the features' own unit where there is no background.

    The algorithm is `xai_adapters.InvariantBox`, on a torch module itself, or on the surrogate
    that FIMAP fits to any other model.

    Args:
        model: as in `FIMAPExplainer`.
        background: (n, ...) rows as in `FIMAPExplainer`; a torch module with a gradient can do
            without.
        feature_names: by default a DataFrame's columns.
        output_type: what the model's numbers are: "probabilities", "logits", or "auto".
        threshold: of a model with one number a row.
        **settings: those of `SemifactualBox`: `max_width`, `surrogate` and `InvariantBox`'s.

    Raises:
        InvalidInputError: for a background or settings that cannot be used.
        PredictorError: if the model does not answer properly.

    Example:
        >>> model = torch.nn.Linear(2, 2)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
        ...     _ = model.bias.zero_()
        >>> explanation = InvariantBoxExplainer(model)(np.array([[0.5, 0.5]]))
        >>> bool(explanation.values[0, 0] > 1), bool(explanation.values[0, 1] == 0)
        (True, True)
    """

    def __init__(
        self,
        model: Any,
        background: Any = None,
        *,
        feature_names: Sequence[str] | None = None,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        self._box = SemifactualBox(**settings)
        super().__init__(model, background, feature_names, None, output_type, threshold)

    def _fit(self, rows: Tensor, probabilities: Tensor, black_box: ArrayBlackBox) -> None:
        self._box.fit(rows, black_box)

    def _values(
        self, rows: Tensor, shape: tuple[int, ...], black_box: ArrayBlackBox
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        box = self._box.solve(rows, black_box)
        expected = np.atleast_1d(self.expected_value)
        if len(expected) > 1:
            expected = expected[box.target.cpu().numpy()]
        return like_rows(box.scores(), shape), np.broadcast_to(expected, len(rows))


def _rows_of(background: Any) -> tuple[Any, list[str] | None]:
    """Rows and their names, from rows or from a masker that holds them."""
    if hasattr(background, "columns"):
        return background.to_numpy(), [str(name) for name in background.columns]
    if hasattr(background, "data") and not isinstance(background, np.ndarray | Tensor):
        return background.data, getattr(background, "feature_names", None)
    return background, None
