"""Maximal invariant perturbation as an Alibi counterfactual explainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.alibi.base import Counterfactuals
from xai_adapters.alibi.convention import TargetClass, one_predictor
from xai_adapters.alibi.options import IGNORED_BY_INIT, FeatureOptions
from xai_adapters.errors import NotFittedError
from xai_adapters.features.array_black_box import ArrayBlackBox, like_rows
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.outputs import OutputType
from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.semifactual.settings import SemifactualOptions, current_options
from xai_adapters.utils.options import named_options


class InvariantBoxCounterfactualOptions(SemifactualOptions, FeatureOptions, total=False):
    """Options of `SemifactualBox`, and Alibi's words for features."""


class InvariantBoxCounterfactual(Counterfactuals):
    """Semifactuals by maximal invariant perturbation, and counterfactuals outside of each box.

    The data of an explanation is that of `FIMAPCounterfactual` without `certainty`, and with
    `lower` and `upper` (n, ...): how far down and up each feature may go, together with all the
    others, without a change of the decision (categories stay as they are); and `guarantee`: with
    probability `confidence`, at most a share `violating_mass` of a row's box has another class, as
    none of `n_draws` draws did. For the counterfactual, features move in the order of increasing
    width until the predictor flips, and needless changes are undone.

    A torch module with a gradient can be explained without `fit`, which only learns the features'
    units; for other predictors `fit` trains FIMAP's surrogate, and boxes are confirmed on the
    predictor. The algorithm is `xai_adapters.semifactual.SemifactualBox`.

    Args:
        predictor: as in `FIMAPCounterfactual`.
        shape: not used; accepted because Alibi's explainers take it.
        predict_fn: another name of the predictor.
        predict: another name of the predictor.
        schema: what the features are and how each may change, in place of Alibi's feature options.
        target_class: "other", a class number, or one for each row that is explained.
        output_type: whether the predictor's numbers are "probabilities" or "logits"; "auto" looks
            at their range.
        threshold: for a predictor with one number per row, the value that separates its two
            classes.
        **options: see `SemifactualBox`, and for the features `FeatureSchema.from_alibi`.

    Raises:
        NotApplicableError: a `TypeError`, unless there is exactly one predictor.
        UnknownOptionError: a `TypeError`, for an option that does not exist.
        InvalidInputError: for an option of the wrong type or out of range.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> model = torch.nn.Linear(2, 2)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]))
        ...     _ = model.bias.zero_()
        >>> explanation = InvariantBoxCounterfactual(model).explain(np.array([[1.0, 0.0]]))
        >>> bool(abs(explanation.lower[0, 0]) < 0.3), bool(explanation.lower[0, 1] < -1.5)
        (True, True)
        >>> bool(explanation.cf["X"][0, 0] < 0), bool(explanation.cf["X"][0, 1] == 0)
        (True, True)
    """

    _core_class = SemifactualBox

    @named_options(
        SemifactualBox,
        FeatureSchema.from_alibi,
        only=InvariantBoxCounterfactualOptions.__annotations__,
        tolerated=IGNORED_BY_INIT,
    )
    def __init__(
        self,
        predictor: Any = None,
        shape: tuple[int, ...] | None = None,
        *,
        predict_fn: Any = None,
        predict: Any = None,
        schema: FeatureSchema | None = None,
        target_class: TargetClass = "other",
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **options: Unpack[InvariantBoxCounterfactualOptions],
    ) -> None:
        super().__init__(
            one_predictor(predictor=predictor, predict_fn=predict_fn, predict=predict),
            schema,
            {"target_class": target_class, "output_type": output_type, "threshold": threshold},
            options,
        )

    @staticmethod
    def _current_options(saved: Mapping[str, Any]) -> dict[str, Any]:
        return current_options(saved)

    def _search(
        self,
        rows: Tensor,
        shape: tuple[int, ...],
        black_box: ArrayBlackBox,
        original_class: Tensor,
        target: Tensor | None,
    ) -> tuple[Tensor, dict[str, Any]]:
        found = self._core.explain(rows, black_box, original_class=original_class, target=target)
        guarantee = {
            "violating_mass": found.violating_mass,
            "confidence": found.confidence,
            "n_draws": self._core.n_bound_draws,
        }
        return found.counterfactual, {
            "lower": like_rows(found.lower, shape),
            "upper": like_rows(found.upper, shape),
            "guarantee": guarantee,
        }

    def _require_fitted(self) -> None:
        """Nothing to require: modules can be explained, and anything saved, without a fit."""

    def _make_ready(self, rows: Tensor) -> None:
        if not self._is_fitted:
            if "ranges" in self._words:
                raise NotFittedError("ranges are shares of the training range: call fit(X) first")
            self._core.schema = self._schema_of(rows, fitting=False)
        self._core.schema.check(rows)
