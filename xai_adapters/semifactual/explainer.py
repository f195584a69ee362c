"""How far a row's features may move while any predictor keeps its class, and what lies beyond."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.box import Box, BoxOptions, InvariantBox
from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
)
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.features.standardization import standardization
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.fimap.settings import FittingOptions, Scale
from xai_adapters.guarantees.sampling_bound import violating_mass
from xai_adapters.model.state import left_as_found
from xai_adapters.semifactual.counterfactual import nearest_counterfactuals
from xai_adapters.semifactual.gradients import differentiable_probabilities, has_gradient
from xai_adapters.semifactual.result import Semifactual
from xai_adapters.semifactual.settings import current_options
from xai_adapters.semifactual.table_boxes import TableBoxes
from xai_adapters.utils.options import (
    check_choice,
    check_number,
    check_whole_number,
    named_options,
    shown,
)
from xai_adapters.utils.persistence import (
    explainer_bytes,
    explainer_from_bytes,
    read_explainer,
    write_explainer,
)


class SemifactualBox:
    """The box around a row in which any predictor keeps its class, and a counterfactual outside.

    `InvariantBox` runs on a torch module itself or, for a predictor without a gradient, on the
    surrogate that FIMAP fitted to it. The box is then shrunk until random draws from it show no
    other class of the black box. For the counterfactual, features move in the order of increasing
    width, as the narrowest matter most, until the black box's decision flips.

    Args:
        schema: what the columns are and how each may change; by default all are continuous and
            free. Categories do not change in the box, and change last in the counterfactual.
        max_width: the bound C on widths, one number or one for each continuous feature. The unit
            is the standard deviation of the rows of `fit`, or without a fit the feature's own.
        n_bound_draws: draws from a box, in each round, with which the black box is queried.
        n_rounds: rounds at most; the box is shrunk to the nearest 2^(1 - n_rounds).
        confidence: of the bound on the share of the box that violates unseen.
        scale: "column" divides each column's widths by its own standard deviation; "shared" all by
            one, for columns that share a unit, such as pixels.
        surrogate: options of the `MinimalPerturbation` that is fitted to predictors without a
            gradient.
        internal_batch_size: as for `InvariantBox`.
        show_progress: as for `InvariantBox`.
        **options: see `InvariantBox`.

    Raises:
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for an option of the wrong type or out of range.

    Example:
        >>> X = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> rule = ArrayBlackBox(lambda X: X[:, 0] > 0)
        >>> box = SemifactualBox(surrogate={"epochs": 5}).fit(X, rule)
        >>> found = box.explain(torch.tensor([[1.0, 0.0]]), rule)
        >>> bool(abs(found.lower[0, 0]) < 0.1), bool(found.counterfactual[0, 0] <= 0)
        (True, True)
    """

    @named_options(InvariantBox, only=BoxOptions.__annotations__)
    def __init__(
        self,
        *,
        schema: FeatureSchema | None = None,
        max_width: float | Sequence[float] | Tensor = 2.0,
        n_bound_draws: int = 256,
        n_rounds: int = 6,
        confidence: float = 0.95,
        scale: Scale = "column",
        surrogate: FittingOptions | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        **options: Unpack[BoxOptions],
    ) -> None:
        check_whole_number("n_bound_draws", n_bound_draws, at_least=1)
        check_whole_number("n_rounds", n_rounds, at_least=1)
        check_number("confidence", confidence, above=0, below=1)
        check_choice("scale", scale, get_args(Scale))
        if options.get("sampling") == "fade_to_colour":
            raise InvalidInputError(
                "sampling='fade_to_colour' is not for SemifactualBox: columns share no range"
            )
        self.schema = schema
        self.max_width = _as_widths(max_width)
        self.n_bound_draws = n_bound_draws
        self.n_rounds = n_rounds
        self.confidence = confidence
        self.scale: Scale = scale
        self.surrogate_options: FittingOptions = surrogate or {}
        self.box_options: dict[str, Any] = {
            "internal_batch_size": internal_batch_size,
            "show_progress": show_progress,
            **options,
        }
        # Wrong options are refused here, not while explaining.
        self._solver()
        self._new_surrogate(schema)
        self._unit: Tensor | None = None
        self._surrogate: MinimalPerturbation | None = None
        self._is_constant = False

    def __repr__(self) -> str:
        """The options that differ from their defaults."""
        values = {"schema": self.schema, "max_width": self.max_width.tolist(), **self._options()}
        return shown(self, values)

    @named_options()
    def fit(self, X: Tensor, black_box: ArrayBlackBox) -> SemifactualBox:
        """Learn the features' units, and a surrogate if the black box has no gradient.

        Args:
            X: (n, d) rows like those to be explained.
            black_box: queried with each row, and with perturbed rows if a surrogate is fitted.

        Returns:
            The box itself.

        Raises:
            InvalidInputError: for rows that cannot be used or do not fit the schema.
            PredictorError: if the black box does not answer properly.

        Warns:
            FitWarning: if the surrogate is not good, or the black box gives all rows one class.
        """
        schema = self._schema_of(X)
        schema.check(X, bounds=True)
        surrogate, is_constant = None, False
        if not has_gradient(black_box, X[:1]):
            surrogate = self._new_surrogate(schema)
            try:
                surrogate.fit(X, black_box)
            except ConstantPredictorError as error:
                warnings.warn(
                    f"{error}; until then no counterfactual is found", FitWarning, stacklevel=3
                )
                surrogate, is_constant = None, True
        numbers = schema.encode(X)[:, : len(schema.continuous)]
        _, self._unit = standardization(numbers, shared=self.scale == "shared")
        self._surrogate, self._is_constant = surrogate, is_constant
        return self

    @named_options()
    def solve(self, X: Tensor, black_box: ArrayBlackBox) -> Box:
        """Find the widths of each row's box for the model or the surrogate.

        Args:
            X: (n, d) rows.
            black_box: asked only if it is a module with a gradient.

        Returns:
            Widths (n, c) of the continuous features, in units.

        Raises:
            NotFittedError: before `fit`, if the black box has no gradient.
            InvalidInputError: for rows that do not fit the schema.
        """
        boxes = self._boxes(X, black_box)
        with left_as_found(black_box.predictor, X.device):
            return boxes.solve(self._solver())

    @named_options()
    def explain(
        self,
        X: Tensor,
        black_box: ArrayBlackBox,
        *,
        original_class: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Semifactual:
        """Find the box around each row, and the nearest counterfactual outside.

        Args:
            X: (n, d) rows.
            black_box: queried with draws from the box and with counterfactuals; a module with
                a gradient also by `InvariantBox`.
            original_class: (n,) the class of each row; by default the black box is queried.
            target: (n,) the class to reach outside; by default any other.

        Returns:
            Bounds and counterfactuals, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`, if the black box has no gradient.
            InvalidInputError: for rows that do not fit the schema.
        """
        boxes = self._boxes(X, black_box)
        if original_class is None:
            original_class = black_box.labels(X)
        self._check_original_class(original_class)
        with torch.no_grad(), left_as_found(black_box.predictor, X.device):
            solver = self._solver()
            # Without continuous features there is no box to solve.
            width = boxes.solve(solver).width if len(boxes.unit) else boxes.numbers
            scale = boxes.safe_scale(
                width, original_class, self.n_bound_draws, self.n_rounds, solver.settings.seed
            )
            every = torch.arange(len(X), device=X.device)
            lower, upper = (
                torch.cat((bound, boxes.groups), dim=1)
                for bound in boxes.bounds(width, every, scale)
            )
            # A copy: without categories these are the caller's rows.
            outside = boxes.encoded.clone()
            if not self._is_constant:
                reach = self.max_width.to(boxes.unit).expand(boxes.unit.shape)
                outside = nearest_counterfactuals(boxes, width, reach, original_class, target)
        lower, upper, outside = (
            boxes.schema.decode(encoded).to(X.dtype) for encoded in (lower, upper, outside)
        )
        return Semifactual(
            lower=lower,
            upper=upper,
            violating_mass=violating_mass(self.n_bound_draws, self.n_rounds, self.confidence),
            confidence=self.confidence,
            counterfactual=outside,
            width=width,
        )

    def save(self, path: str | Path) -> None:
        """Write options, units and surrogate to one file.

        Raises:
            OSError: if the file cannot be written.
        """
        tensors = {"max_width": self.max_width}
        if self._unit is not None:
            tensors["unit"] = self._unit
        if self._surrogate is not None:
            tensors["surrogate"] = explainer_bytes(self._surrogate)
        values = {
            "schema": None if self.schema is None else self.schema.to_dict(),
            "settings": self._options(),
            "is_constant": self._is_constant,
        }
        write_explainer(path, type(self).__name__, tensors, values)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> SemifactualBox:
        """Read what `save` wrote; it explains as it did when it was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, or of a newer version.
        """
        tensors, values = read_explainer(path, cls.__name__, device)
        schema = None if values["schema"] is None else FeatureSchema.from_dict(values["schema"])
        options = current_options(values["settings"])
        loaded = cls(schema=schema, max_width=tensors["max_width"], **options)
        loaded._unit, loaded._is_constant = tensors.get("unit"), values["is_constant"]
        if "surrogate" in tensors:
            loaded._surrogate = explainer_from_bytes(MinimalPerturbation, tensors["surrogate"])
        return loaded

    def _schema_of(self, X: Tensor) -> FeatureSchema:
        return self.schema or FeatureSchema.all_continuous(X.shape[1])

    def _check_original_class(self, original_class: Tensor) -> None:
        n_classes = self._surrogate and self._surrogate.n_classes
        if n_classes and (original_class >= n_classes).any():
            row = int((original_class >= n_classes).nonzero()[0])
            raise InvalidInputError(
                f"row {row} has class {int(original_class[row])}; fit saw only the classes 0 to "
                f"{n_classes - 1}: fit on rows of every class"
            )

    def _solver(self) -> InvariantBox:
        return InvariantBox(
            max_width=self.max_width, output_type="probabilities", **self.box_options
        )

    def _new_surrogate(self, schema: FeatureSchema | None) -> MinimalPerturbation:
        options: FittingOptions = {"scale": self.scale, **self.surrogate_options}
        return MinimalPerturbation(schema=schema, **options)

    def _options(self) -> dict[str, Any]:
        """The options that JSON can hold."""
        return {
            "n_bound_draws": self.n_bound_draws,
            "n_rounds": self.n_rounds,
            "confidence": self.confidence,
            "scale": self.scale,
            "surrogate": self.surrogate_options or None,
            **self.box_options,
        }

    def _boxes(self, X: Tensor, black_box: ArrayBlackBox) -> TableBoxes:
        schema = self._schema_of(X)
        schema.check(X)
        unit = torch.ones(len(schema.continuous)) if self._unit is None else self._unit
        probabilities = self._model(X, schema, black_box)

        def labels(points: Tensor) -> Tensor:
            return black_box.labels(schema.decode(points).to(X.dtype))

        unit = unit.to(X.device)
        encoded = schema.encode(X).to(torch.promote_types(X.dtype, unit.dtype))
        return TableBoxes(schema, encoded, unit, probabilities, labels)

    def _model(
        self, X: Tensor, schema: FeatureSchema, black_box: ArrayBlackBox
    ) -> Callable[[Tensor], Tensor]:
        """A differentiable function of encoded points (m, e) to class probabilities (m, K)."""
        if has_gradient(black_box, X[:1]):
            return differentiable_probabilities(black_box, schema, X)
        if self._is_constant:
            # One class everywhere, with a gradient of 0.
            return lambda points: points[:, :1] * 0 + points.new_tensor([1.0, 0.0])
        if self._surrogate is None:
            raise NotFittedError(
                "the predictor has no gradient, so its box is found on a surrogate of it: call "
                "fit(X) first"
            )
        return self._surrogate.class_probabilities


def _as_widths(max_width: float | Sequence[float] | Tensor) -> Tensor:
    try:
        return torch.as_tensor(max_width, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"max_width must be a number or one for each continuous feature, is {max_width!r:.60}"
        ) from error
