"""FIMAP and maximal invariant perturbation as Alibi's counterfactual explainers.

Importing this module imports Alibi if it is installed (some seconds); if it is not, the same
classes stand on an `Explainer` and an `Explanation` of our own with the same fields. Rows are
arrays (n, d), or (n, ...) for images, and come back as arrays of the same form.

Both classes take the features in the words of Alibi's explainers, all of them optional:
`feature_names`, `category_map` or `cat_vars` with `ohe`, `feature_range`, `immutable_features` and
`ranges`; `FeatureSchema.from_alibi` says what each means. As in CounterfactualRLTabular, changed
numbers stay inside the range of the rows of `fit` if `category_map` or `ranges` are given and
`feature_range` is not. Settings of how Alibi's explainers search (`max_iter`, `beta`, `encoder` and
others) are ignored, with a warning.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from xai_adapters.alibi.base import Counterfactuals
from xai_adapters.alibi.convention import Explanation, one_predictor
from xai_adapters.errors import NotFittedError
from xai_adapters.features.array_black_box import ArrayBlackBox, like_rows
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.model.outputs import OutputType
from xai_adapters.semifactual.explainer import SemifactualBox

__all__ = ["Explanation", "FIMAPCounterfactual", "InvariantBoxCounterfactual"]


class FIMAPCounterfactual(Counterfactuals):
    """Counterfactuals by FIMAP: fitted once, then thousands of rows in one forward pass.

    The data of an explanation is what Alibi's counterfactual explainers give: `cf`, a dictionary
    with `X` (n, ...), `class`, `proba` (n, C), `distance` (the sum of absolute changes) and
    `index`; `all`; `orig_class`; `orig_proba` (n, C); `success`, which is the predictor's word and
    nothing else. Of one row classes and success are plain, and `cf` is None if nothing was found;
    in a batch such a row is left as it was. Besides: `queries`, rows the predictor was asked
    about, and `certainty`, the `length` (n,) of each row's perturbation and its `rank` (n,) among
    the fitted rows (None if the predictor is constant).

    The algorithm is `xai_adapters.MinimalPerturbation`.

    Args:
        predictor: a function that gives (n, C) class probabilities, a torch module, an estimator,
            or whatever else `BlackBox` takes; `predict_fn` and `predict` are other names for it.
        shape: accepted, as Alibi's explainers ask for it; the rows say it themselves.
        predict_fn: the predictor.
        predict: the predictor.
        schema: what the features are and how each may change, in place of Alibi's words.
        target_class: "other", a class number, or one for each row that is explained.
        line_search: ask the predictor for the shortest step that flips each row, at most 12
            questions; without it 2 are asked a row.
        sparsify: with `line_search`, also undo changes that are not needed.
        local_search: with `line_search`, so many questions a row more for nearer flips.
        output_type: what the predictor's numbers are: "probabilities", "logits", or "auto".
        threshold: of a predictor with one number a row.
        **settings: the features in Alibi's words, and settings of `MinimalPerturbation`.

    Raises:
        NotApplicableError: a `TypeError`, if there is not one predictor that can be asked.
        InvalidInputError: for settings that cannot be used.

    Example:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(500, 2))
        >>> predictor = lambda X: np.stack([X[:, 0] < 0, X[:, 0] >= 0], axis=1).astype(float)
        >>> explainer = FIMAPCounterfactual(predictor, epochs=5).fit(X)
        >>> explanation = explainer.explain(np.array([[1.0, 0.0]]))
        >>> explanation.orig_class, explanation.cf["class"], explanation.success
        (1, 0, True)
    """

    _core_class = MinimalPerturbation

    def __init__(
        self,
        predictor: Any = None,
        shape: tuple[int, ...] | None = None,
        *,
        predict_fn: Any = None,
        predict: Any = None,
        schema: FeatureSchema | None = None,
        target_class: Any = "other",
        line_search: bool = True,
        sparsify: bool = False,
        local_search: int = 0,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            one_predictor(predictor=predictor, predict_fn=predict_fn, predict=predict),
            schema,
            {
                "target_class": target_class,
                "line_search": line_search,
                "sparsify": sparsify,
                "local_search": local_search,
                "output_type": output_type,
                "threshold": threshold,
            },
            settings,
        )

    def _search(
        self,
        rows: Tensor,
        shape: tuple[int, ...],
        black_box: ArrayBlackBox,
        original_class: Tensor,
        target: Tensor | None,
    ) -> tuple[Tensor, dict[str, Any]]:
        if self._core.n_classes is None:
            return rows, {"certainty": None}
        asking = {
            name: self._arguments[name] for name in ("line_search", "sparsify", "local_search")
        }
        if self._arguments["line_search"]:
            asking["black_box"] = black_box
        found = self._core.perturb(rows, target, original_class=original_class, **asking)
        certainty = self._core.certainty(rows, original_class=original_class)
        measures = {name: like_rows(held, ()) for name, held in vars(certainty).items()}
        return found.perturbed, {"certainty": measures}


class InvariantBoxCounterfactual(Counterfactuals):
    """Semifactuals by maximal invariant perturbation, and the nearest way out of each box.

    The data of an explanation is that of `FIMAPCounterfactual` without `certainty`, and with
    `lower` and `upper` (n, ...): how far down and up each feature may go, together with all the
    others, while the decision stays (categories are held); and `guarantee`: with probability
    `confidence` at most a share `violating_mass` of a row's box has another class, as none of
    `n_draws` draws did. The counterfactual is found by leaving the box: features move in the order
    of increasing width until the predictor flips, and those that were not needed are put back.

    A torch module with a gradient needs no `fit`, which then only learns the features' units;
    other predictors are fitted by FIMAP's surrogate, and what it says is checked on them. The
    algorithm is `xai_adapters.semifactual.explainer.SemifactualBox`.

    Args:
        predictor: as in `FIMAPCounterfactual`.
        shape: accepted, as Alibi's explainers ask for it; the rows say it themselves.
        predict_fn: the predictor.
        predict: the predictor.
        schema: what the features are and how each may change, in place of Alibi's words.
        target_class: "other", a class number, or one for each row that is explained.
        output_type: what the predictor's numbers are: "probabilities", "logits", or "auto".
        threshold: of a predictor with one number a row.
        **settings: the features in Alibi's words, and settings of `SemifactualBox`.

    Raises:
        NotApplicableError: a `TypeError`, if there is not one predictor that can be asked.
        InvalidInputError: for settings that cannot be used.

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

    def __init__(
        self,
        predictor: Any = None,
        shape: tuple[int, ...] | None = None,
        *,
        predict_fn: Any = None,
        predict: Any = None,
        schema: FeatureSchema | None = None,
        target_class: Any = "other",
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            one_predictor(predictor=predictor, predict_fn=predict_fn, predict=predict),
            schema,
            {"target_class": target_class, "output_type": output_type, "threshold": threshold},
            settings,
        )

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
        """A module can be explained, and anything saved, without a fit."""

    def _make_ready(self, rows: Tensor) -> None:
        if not self._is_fitted:
            if "ranges" in self._words:
                raise NotFittedError("ranges are fractions of the range of fit's rows; call fit(X)")
            self._core.schema = self._schema_of(rows, fitting=False)
        self._core.schema.check(rows)
