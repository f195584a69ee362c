"""The base of both counterfactual explainers: features, fit, explain, files."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from xai_adapters.alibi.convention import (
    Explainer,
    Explanation,
    FitMixin,
    TargetClass,
    check_target,
    class_numbers,
    counterfactual_data,
    default_meta,
    plain,
    require_predictor,
)
from xai_adapters.alibi.options import (
    IGNORED_BY_EXPLAIN,
    IGNORED_BY_FIT,
    IGNORED_BY_INIT,
    FeatureOptions,
    without_ignored,
)
from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
)
from xai_adapters.features.array_black_box import ArrayBlackBox, flat_rows
from xai_adapters.features.columns import column_names, in_order_of
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.model.outputs import check_output_type
from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.utils.options import check_number, named_options, shown
from xai_adapters.utils.persistence import (
    explainer_bytes,
    explainer_from_bytes,
    read_explainer,
    renamed_options,
    write_explainer,
)

# Attributes in pickles of version 0.1, and what they are called now.
_RENAMED_ATTRIBUTES = {"_reading": "_output_form"}

Self = TypeVar("Self", bound="Counterfactuals")


class Counterfactuals(Explainer, FitMixin):
    """The base of both explainers: one predictor, Alibi's feature options, saved files.

    Args:
        predictor: the only reference to the black box that is kept.
        schema: None to make one from Alibi's feature options.
        arguments: options of the adapter itself.
        options: feature options, options of the algorithm, and options that are ignored.
    """

    _core_class: ClassVar[type[MinimalPerturbation] | type[SemifactualBox]]

    def __init__(
        self,
        predictor: Any,
        schema: FeatureSchema | None,
        arguments: dict[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        check_target(arguments["target_class"])
        check_output_type(arguments["output_type"])
        check_number("threshold", arguments["threshold"], optional=True)
        settings = without_ignored(options, IGNORED_BY_INIT, stacklevel=5)
        words = {name: settings.pop(name, None) for name in FeatureOptions.__annotations__}
        words = {name: value for name, value in words.items() if value is not None}
        if schema is not None and words:
            raise InvalidInputError(
                f"features are described twice: give a schema, or {', '.join(words)}"
            )
        described = {**arguments, **settings, **words}
        super().__init__(
            meta=default_meta({**described, "schema": schema and schema.to_dict()}),
        )
        self.predictor = predictor
        self._schema, self._words = schema, words
        self._arguments, self._settings = arguments, settings
        self._core: Any = self._core_class(schema=schema, **settings)
        # The predictor's output type and labels, as fit found them.
        self._output_form: dict[str, Any] = {}
        self._is_fitted = False
        # Of a frame that was fitted to without a schema.
        self._columns: list[str] | None = None

    def __repr__(self) -> str:
        """The options that differ from their defaults."""
        values = {"schema": self._schema, **self._arguments, **self._words, **self._settings}
        return shown(self, values)

    @named_options(tolerated=IGNORED_BY_FIT)
    def fit(self: Self, X: Any, y: Any = None, **ignored: object) -> Self:
        """Fit to the predictor's answers for `X`, and for rows near them.

        Args:
            X: (n, ...) rows like those to be explained, some hundreds or more.
            y: not used, as in Alibi: the predictor's own answers are explained.
            **ignored: options of Alibi's explainers (`d_type`, `disc_perc` and others), which
                are ignored with a warning.

        Returns:
            The explainer itself.

        Raises:
            InvalidInputError: for rows that cannot be used or do not fit the features.
            PredictorError: if the predictor does not return one answer per row.
            UnknownOptionError: for an option that neither Alibi's explainers have.

        Warns:
            FitWarning: if the fit is not good, or the predictor gives all rows the same class.
        """
        without_ignored(ignored, IGNORED_BY_FIT, stacklevel=4)
        rows, shape = flat_rows(X, self._schema)
        schema = self._schema_of(rows, fitting=True)
        core = self._core_class(schema=schema, **self._settings)
        black_box = self._black_box(shape, {})
        try:
            core.fit(rows, black_box)
        except ConstantPredictorError as error:
            message = f"{error}; until then no counterfactual is found"
            warnings.warn(message, FitWarning, stacklevel=3)
        self._core, self._is_fitted = core, True
        self._columns = column_names(X) if self._schema is None else None
        self._output_form = {
            "output_type": black_box.resolved_output_type,
            "classes": black_box.classes,
        }
        self.meta["params"]["schema"] = schema.to_dict()
        return self

    @named_options(tolerated=IGNORED_BY_EXPLAIN)
    def explain(
        self,
        X: Any,
        target_class: TargetClass | None = None,
        *,
        Y_t: Any = None,
        **ignored: object,
    ) -> Explanation:
        """Explain rows.

        Args:
            X: (n, ...) rows.
            target_class: the class to reach: "other", a class number, (n,) of them, or (n, C) as
                CounterfactualRL takes its targets; by default the one given at construction.
            Y_t: CounterfactualRL's name for the same.
            **ignored: options of Alibi's explainers (`k`, `threshold`, `verbose` and others), which
                are ignored with a warning.

        Returns:
            An `Explanation` with `meta` and `data`, which the class describes.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows or targets that cannot be used.
            PredictorError: if the predictor does not return one answer per row.
            UnknownOptionError: for an option that neither Alibi's explainers have.
        """
        without_ignored(ignored, IGNORED_BY_EXPLAIN, stacklevel=4)
        if target_class is None:
            target_class = self._arguments["target_class"] if Y_t is None else Y_t
        rows, shape = flat_rows(in_order_of(X, self._columns), self._schema)
        self._make_ready(rows)
        black_box = self._black_box(shape, self._output_form)
        before = black_box.probabilities(rows)
        target = class_numbers(target_class, *before.shape)
        candidates, more = self._search(rows, shape, black_box, before.argmax(dim=1), target)
        after = black_box.probabilities(candidates)
        data = counterfactual_data(rows, shape, before, candidates, after, target)
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
        """Candidates (n, d) for another class, and further entries of the explanation's data."""

    @staticmethod
    @abstractmethod
    def _current_options(saved: Mapping[str, Any]) -> dict[str, Any]:
        """Options of the algorithm as an earlier version saved them, without removed ones."""

    def reset_predictor(self, predictor: Any) -> None:
        """Use another predictor from now on; if its decisions differ, call `fit` again.

        Raises:
            NotApplicableError: a `TypeError`, if it cannot be called.
        """
        self.predictor = require_predictor(predictor)

    def save(self, path: str | Path) -> None:
        """Write the explainer, without the predictor, to one file of numbers and text.

        `alibi.saving.save_explainer` works too, and writes a folder of pickles.

        Raises:
            NotFittedError: before `fit`, if the explainer needs it.
            OSError: if the file cannot be written.
        """
        self._require_fitted()
        packed = self._packed()
        values = {
            "arguments": plain(self._arguments),
            "settings": plain(self._settings),
            "words": plain(self._words),
            "schema": self._schema and self._schema.to_dict(),
            "fitted_schema": self._is_fitted and self.meta["params"]["schema"],
            "output_type": self._output_form,
            "columns": self._columns,
        }
        tensors = {} if packed is None else {"core": packed}
        write_explainer(path, type(self).__name__, tensors, values)

    @classmethod
    def load(cls: type[Self], path: str | Path, predictor: Any) -> Self:
        """Read an explainer that `save` wrote.

        Args:
            path: the file.
            predictor: the black box that it explains.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, or of a newer version.
            NotApplicableError: a `TypeError`, if the predictor cannot be called.
        """
        tensors, values = read_explainer(path, cls.__name__)
        settings, words = cls._current_options(values["settings"]), values["words"]
        for name in ("category_map", "cat_vars"):
            if name in words:
                # The keys of JSON are text.
                words[name] = {int(column): value for column, value in words[name].items()}
        schema = values["schema"] and FeatureSchema.from_dict(values["schema"])
        make: Callable[..., Self] = cls
        loaded = make(predictor, schema=schema, **values["arguments"], **settings, **words)
        if "core" in tensors:
            loaded._core = explainer_from_bytes(cls._core_class, tensors["core"])
        if values["fitted_schema"]:
            loaded._is_fitted, loaded._output_form = True, values["output_type"]
            loaded._core.schema = FeatureSchema.from_dict(values["fitted_schema"])
            loaded.meta["params"]["schema"] = values["fitted_schema"]
            # Earlier versions did not keep them.
            loaded._columns = values.get("columns")
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        """What Alibi pickles: arrays on the CPU in place of networks."""
        packed = self._packed()
        return vars(self) | ({} if packed is None else {"_core": packed.numpy()})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned, in this version or in an earlier one."""
        state = {_RENAMED_ATTRIBUTES.get(name, name): value for name, value in state.items()}
        for name in ("_arguments", "_settings", "_output_form"):
            state[name] = renamed_options(state[name])
        state["_settings"] = self._current_options(state["_settings"])
        params = self._current_options(renamed_options(state["meta"]["params"]))
        state.setdefault("_columns", None)
        state |= {"meta": {**state["meta"], "params": params}, "params": params}
        vars(self).update(state)
        if isinstance(self._core, np.ndarray):
            self._core = explainer_from_bytes(self._core_class, torch.from_numpy(self._core))

    def _packed(self) -> Tensor | None:
        """The fitted algorithm as bytes, None if there is nothing to save."""
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
        """Raise unless rows (n, d) can be explained."""
        self._require_fitted()
        self._core.schema.check(rows)
