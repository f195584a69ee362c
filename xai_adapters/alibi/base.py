"""What both of our explainers in Alibi's place share: fit, explain, words for features, files."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from xai_adapters.alibi.convention import (
    Explainer,
    Explanation,
    FitMixin,
    class_numbers,
    counterfactual_data,
    default_meta,
    ignore,
    plain,
    require_predictor,
    require_target,
)
from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
)
from xai_adapters.features.array_black_box import ArrayBlackBox, flat_rows
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.utils.persistence import (
    explainer_bytes,
    explainer_from_bytes,
    read_explainer,
    write_explainer,
)

_WORDS = (
    "feature_names",
    "category_map",
    "cat_vars",
    "ohe",
    "feature_range",
    "immutable_features",
    "ranges",
)

Self = TypeVar("Self", bound="Counterfactuals")


class Counterfactuals(Explainer, FitMixin):
    """What both explainers share: one predictor, Alibi's words for features, saved files.

    Args:
        predictor: the only reference to the black box there is.
        schema: None to make one of Alibi's words.
        arguments: what the explainer itself goes by.
        settings: Alibi's words, and settings of the core's explainer.
    """

    _core_class: ClassVar[type[MinimalPerturbation] | type[SemifactualBox]]

    def __init__(
        self,
        predictor: Any,
        schema: FeatureSchema | None,
        arguments: dict[str, Any],
        settings: dict[str, Any],
    ) -> None:
        require_target(arguments["target_class"])
        settings = ignore("__init__", settings, stacklevel=4)
        words = {name: settings.pop(name, None) for name in _WORDS}
        words = {name: value for name, value in words.items() if value is not None}
        if schema is not None and words:
            raise InvalidInputError(
                f"a schema says what the features are: give it, or {', '.join(words)}"
            )
        described = {**arguments, **settings, **words}
        super().__init__(
            meta=default_meta({**described, "schema": schema and schema.to_dict()}),
        )
        self.predictor = predictor
        self._schema, self._words = schema, words
        self._arguments, self._settings = arguments, settings
        self._core: Any = self._core_class(schema=schema, **settings)
        # How the black box was read in fit: what its numbers are, and which labels it returns.
        self._output_form: dict[str, Any] = {}
        self._is_fitted = False

    def fit(self: Self, X: Any, y: Any = None, **alibi: Any) -> Self:
        """Fit to what the predictor says of `X`, and of rows near them.

        Args:
            X: (n, ...) rows like those to be explained, some hundreds or more.
            y: not used, as in Alibi: what is explained are the predictor's own answers.
            **alibi: what Alibi's explainers are told here (`d_type`, `disc_perc` and others);
                ignored, with a warning.

        Returns:
            The explainer itself.

        Raises:
            InvalidInputError: for rows that cannot be used or do not fit the features.
            PredictorError: if the predictor does not answer properly.

        Warns:
            FitWarning: if the fit is not good, or the predictor gives all rows one class, so that
                they show no way to another.
        """
        _refuse("fit", ignore("fit", alibi))
        rows, shape = flat_rows(X, self._schema)
        schema = self._schema_of(rows, fitting=True)
        core = self._core_class(schema=schema, **self._settings)
        black_box = self._black_box(shape, {})
        try:
            core.fit(rows, black_box)
        except ConstantPredictorError as error:
            warnings.warn(f"{error}; until then no way out is found", FitWarning, stacklevel=2)
        self._core, self._is_fitted = core, True
        self._output_form = {
            "output_type": black_box.resolved_output_type,
            "classes": black_box.classes,
        }
        self.meta["params"]["schema"] = schema.to_dict()
        return self

    def explain(
        self, X: Any, target_class: Any = None, *, Y_t: Any = None, **alibi: Any
    ) -> Explanation:
        """Explain rows.

        Args:
            X: (n, ...) rows.
            target_class: the class to reach: "other", a class number, (n,) of them, or (n, C) as
                CounterfactualRL takes its targets; by default the one given at construction.
            Y_t: CounterfactualRL's name for the same.
            **alibi: what Alibi's explainers are told here (`k`, `threshold`, `verbose` and
                others); ignored, with a warning.

        Returns:
            An `Explanation` with `meta` and `data`; the class says what is in it.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows or targets that cannot be used.
            PredictorError: if the predictor does not answer properly.
        """
        _refuse("explain", ignore("explain", alibi))
        if target_class is None:
            target_class = self._arguments["target_class"] if Y_t is None else Y_t
        rows, shape = flat_rows(X, self._schema)
        self._make_ready(rows)
        black_box = self._black_box(shape, self._output_form)
        before = black_box.probabilities(rows)
        target = class_numbers(target_class, *before.shape)
        outside, more = self._search(rows, shape, black_box, before.argmax(dim=1), target)
        after = black_box.probabilities(outside)
        data = counterfactual_data(rows, shape, before, outside, after, target)
        data |= {"queries": black_box.n_queries, **more}
        return Explanation(meta=copy.deepcopy(self.meta), data=data)

    @abstractmethod
    def _search(
        self,
        rows: Tensor,
        shape: tuple[int, ...],
        black_box: ArrayBlackBox,
        original_class: Tensor,
        target: Tensor | None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Where another class may be (n, d), and what else is known of the rows."""

    def reset_predictor(self, predictor: Any) -> None:
        """Ask another predictor from now on; if it decides otherwise, `fit` again.

        Raises:
            NotApplicableError: a `TypeError`, for what cannot be asked.
        """
        self.predictor = require_predictor(predictor)

    def save(self, path: str | Path) -> None:
        """Write the explainer to one file of numbers and text, without the predictor.

        `alibi.saving.save_explainer` works too, and writes a folder of pickles.

        Raises:
            NotFittedError: before `fit`, where that is needed.
            OSError: if the file cannot be written.
        """
        self._require_fitted()
        packed = self._packed()
        facts = {
            "arguments": plain(self._arguments),
            "settings": plain(self._settings),
            "words": plain(self._words),
            "schema": self._schema and self._schema.to_dict(),
            "fitted_schema": self._is_fitted and self.meta["params"]["schema"],
            "output_type": self._output_form,
        }
        tensors = {} if packed is None else {"core": packed}
        write_explainer(path, type(self).__name__, tensors, facts)

    @classmethod
    def load(cls: type[Self], path: str | Path, predictor: Any) -> Self:
        """Read an explainer that `save` wrote.

        Args:
            path: the file.
            predictor: what it asks from now on.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, or of a newer version.
            NotApplicableError: a `TypeError`, for what cannot be asked.
        """
        tensors, facts = read_explainer(path, cls.__name__)
        words = facts["words"]
        for name in ("category_map", "cat_vars"):
            if name in words:
                # JSON has no numbers for keys.
                words[name] = {int(column): value for column, value in words[name].items()}
        schema = facts["schema"] and FeatureSchema.from_dict(facts["schema"])
        make: Callable[..., Self] = cls
        loaded = make(predictor, schema=schema, **facts["arguments"], **facts["settings"], **words)
        if "core" in tensors:
            loaded._core = explainer_from_bytes(cls._core_class, tensors["core"])
        if facts["fitted_schema"]:
            loaded._is_fitted, loaded._output_form = True, facts["output_type"]
            loaded._core.schema = FeatureSchema.from_dict(facts["fitted_schema"])
            loaded.meta["params"]["schema"] = facts["fitted_schema"]
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: arrays on the CPU in place of networks."""
        packed = self._packed()
        return vars(self) | ({} if packed is None else {"_core": packed.numpy()})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take on what `__getstate__` gave."""
        vars(self).update(state)
        if isinstance(self._core, np.ndarray):
            self._core = explainer_from_bytes(self._core_class, torch.from_numpy(self._core))

    def _packed(self) -> Tensor | None:
        """What was fitted as bytes, None where there is nothing."""
        try:
            return explainer_bytes(self._core)
        except NotFittedError:
            return None

    def _black_box(self, shape: tuple[int, ...], output_form: dict[str, Any]) -> ArrayBlackBox:
        arguments = {name: self._arguments[name] for name in ("output_type", "threshold")}
        return ArrayBlackBox(self.predictor, row_shape=shape, **{**arguments, **output_form})

    def _schema_of(self, rows: Tensor, fitting: bool) -> FeatureSchema:
        if self._schema is not None:
            return self._schema
        bounded = fitting and ("ranges" in self._words or "category_map" in self._words)
        return FeatureSchema.from_alibi(
            rows.shape[1], training=rows if bounded else None, **self._words
        )

    def _require_fitted(self) -> None:
        if not self._is_fitted:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit(X) first")

    def _make_ready(self, rows: Tensor) -> None:
        """Raise unless these rows (n, d) can be explained."""
        self._require_fitted()
        self._core.schema.check(rows)


def _refuse(where: str, settings: dict[str, Any]) -> None:
    for name in settings:
        raise TypeError(f"{where}() got an unexpected keyword argument '{name}'")
