"""FIMAP as an Alibi counterfactual explainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.alibi.base import Counterfactuals
from xai_adapters.alibi.convention import TargetClass, one_predictor
from xai_adapters.alibi.options import IGNORED_BY_INIT, FeatureOptions
from xai_adapters.features.array_black_box import ArrayBlackBox, like_rows
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.fimap.settings import REMOVED_SETTINGS, FittingOptions
from xai_adapters.model.outputs import OutputType
from xai_adapters.utils.options import check_flag, check_whole_number, named_options
from xai_adapters.utils.persistence import without_removed


class FIMAPCounterfactualOptions(FittingOptions, FeatureOptions, total=False):
    """Options of `MinimalPerturbation`, and Alibi's words for features."""


class FIMAPCounterfactual(Counterfactuals):
    """Counterfactuals by FIMAP: fitted once, then thousands of rows in one forward pass.

    The data of an explanation is that of Alibi's counterfactual explainers: `cf`, a dictionary
    with `X` (n, ...), `class`, `proba` (n, C), `distance` (the sum of absolute changes) and
    `index`; `all`; `orig_class`; `orig_proba` (n, C); and `success`, which is what the predictor
    said. For a single row, classes and success are plain numbers, and `cf` is None if none was
    found; in a batch such a row is left unchanged. Two entries are added: `queries`, rows the
    predictor was asked about, and `certainty`, the `length` (n,) of each row's perturbation and its
    `rank` (n,) among the fitted rows (None if the predictor is constant).

    The algorithm is `xai_adapters.MinimalPerturbation`.

    Args:
        predictor: a function that returns (n, C) class probabilities, a torch module, an estimator,
            or whatever else `BlackBox` takes.
        shape: not used; accepted because Alibi's explainers take it.
        predict_fn: another name of the predictor.
        predict: another name of the predictor.
        schema: what the features are and how each may change, in place of Alibi's feature options.
        target_class: "other", a class number, or one for each row that is explained.
        line_search: ask the predictor for the shortest step that flips each row, with at most 12
            queries per row; without it, 2 queries per row are made.
        sparsify: with `line_search`, also undo changes that are not needed.
        local_search: with `line_search`, further queries per row for nearer flips.
        output_type: whether the predictor's numbers are "probabilities" or "logits"; "auto" looks
            at their range.
        threshold: for a predictor with one number per row, the value that separates its two
            classes.
        **options: see `MinimalPerturbation`, and for the features `FeatureSchema.from_alibi`.

    Raises:
        NotApplicableError: a `TypeError`, unless there is exactly one predictor.
        UnknownOptionError: a `TypeError`, for an option that does not exist.
        InvalidInputError: for an option of the wrong type or out of range.

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

    @named_options(
        MinimalPerturbation,
        FeatureSchema.from_alibi,
        only=FIMAPCounterfactualOptions.__annotations__,
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
        line_search: bool = True,
        sparsify: bool = False,
        local_search: int = 0,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **options: Unpack[FIMAPCounterfactualOptions],
    ) -> None:
        check_flag("line_search", line_search)
        check_flag("sparsify", sparsify)
        check_whole_number("local_search", local_search, at_least=0)
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
            options,
        )

    @staticmethod
    def _current_options(saved: Mapping[str, Any]) -> dict[str, Any]:
        return without_removed(saved, REMOVED_SETTINGS)

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
        names = ("line_search", "sparsify", "local_search")
        search = {name: self._arguments[name] for name in names}
        if self._arguments["line_search"]:
            search["black_box"] = black_box
        found = self._core.perturb(rows, target, original_class=original_class, **search)
        certainty = self._core.certainty(rows, original_class=original_class)
        measures = {name: like_rows(held, ()) for name, held in vars(certainty).items()}
        return found.perturbed, {"certainty": measures}
