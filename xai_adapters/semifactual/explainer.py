"""How far a row's features may move while any predictor keeps its class, and the way out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xai_adapters.box.explainer import Box, InvariantBox
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
from xai_adapters.guarantees.sampling_bound import violating_mass
from xai_adapters.model.outputs import class_probabilities
from xai_adapters.model.state import left_as_found
from xai_adapters.semifactual.table_boxes import TabularBoxes
from xai_adapters.utils.persistence import (
    explainer_bytes,
    explainer_from_bytes,
    read_explainer,
    write_explainer,
)


@dataclass(frozen=True)
class Semifactual:
    """What `SemifactualBox.explain` found for n rows of d columns, in the user's units.

    Attributes:
        lower: (n, d) how far down each feature may go; categories are held.
        upper: (n, d) how far up.
        violating_mass: bound on the share of a row's box, whole numbers rounded, where the
            black box gives another class.
        confidence: the probability with which that bound holds for a row.
        counterfactual: (n, d) the nearest point found outside; the row where none was.
        width: (n, c) half the side of the box in each continuous feature, in its unit, as
            `InvariantBox` found it; the bounds are within it.
    """

    lower: Tensor
    upper: Tensor
    violating_mass: float
    confidence: float
    counterfactual: Tensor
    width: Tensor


class SemifactualBox:
    """The box around a row in which any predictor keeps its class, and the nearest way out of it.

    `InvariantBox` is solved on a torch module itself or, for a predictor without a gradient, on
    the surrogate that FIMAP fitted to it. The box is then shrunk until draws from it no longer
    show the black box another class; and to leave it, features move in the order of increasing
    width, as the narrowest matter most, until the black box flips.

    Args:
        schema: what the columns are and how each may change; by default all are continuous and
            free. Categories are held in the box, and changed only on the way out, last.
        max_width: the bound C on widths, one number or one for each continuous feature, in units:
            the standard deviation of the rows of `fit`, or where nothing was fitted the feature's
            own unit.
        n_bound_draws: draws from a box in each round that asks the black box about it.
        n_rounds: such rounds at most; the box is shrunk to the nearest 2^(1 - n_rounds).
        confidence: of the bound on what the draws do not show.
        scale: "column" counts each column's widths in its own standard deviation; "shared" all in
            one, for columns that share a unit, such as pixels.
        surrogate: settings of the `MinimalPerturbation` that is fitted to predictors without a
            gradient.
        **settings: those of `InvariantBox`, `penalty` and `n_steps` for example.

    Example:
        >>> X = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> rule = ArrayBlackBox(lambda X: X[:, 0] > 0)
        >>> box = SemifactualBox(surrogate={"epochs": 5}).fit(X, rule)
        >>> found = box.explain(torch.tensor([[1.0, 0.0]]), rule)
        >>> bool(abs(found.lower[0, 0]) < 0.1), bool(found.counterfactual[0, 0] <= 0)
        (True, True)
    """

    def __init__(
        self,
        *,
        schema: FeatureSchema | None = None,
        max_width: float | Sequence[float] | Tensor = 2.0,
        n_bound_draws: int = 256,
        n_rounds: int = 6,
        confidence: float = 0.95,
        scale: Literal["column", "shared"] = "column",
        surrogate: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        for name, value, allowed in (
            ("n_bound_draws", n_bound_draws, n_bound_draws >= 1),
            ("n_rounds", n_rounds, n_rounds >= 1),
            ("confidence", confidence, 0 < confidence < 1),
            ("scale", scale, scale in ("column", "shared")),
        ):
            if not allowed:
                raise InvalidInputError(f"{name} cannot be {value!r}")
        for name in ("shape", "bounds"):
            if name in settings:
                raise InvalidInputError(
                    f"{name} is not for SemifactualBox: its boxes are symmetric, within what the "
                    "schema allows"
                )
        if settings.get("draws") == "faded":
            raise InvalidInputError(
                "faded draws are not for SemifactualBox: columns have no range in common"
            )
        self.schema = schema
        self.max_width = torch.as_tensor(max_width, dtype=torch.float64)
        self.n_bound_draws = n_bound_draws
        self.n_rounds = n_rounds
        self.confidence = confidence
        self.scale = scale
        self.surrogate_settings = {"scale": scale, **(surrogate or {})}
        self.settings = settings
        # Now, not in the middle of an explanation, is the time to complain about settings.
        self._solver()
        MinimalPerturbation(**self.surrogate_settings)
        self._unit: Tensor | None = None
        self._surrogate: MinimalPerturbation | None = None
        self._is_constant = False

    def fit(self, X: Tensor, black_box: ArrayBlackBox) -> SemifactualBox:
        """Learn the features' units, and a surrogate if the black box has no gradient.

        Args:
            X: (n, d) rows like those to be explained.
            black_box: asked about each row and about perturbed ones if a surrogate is fitted.

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
        if not _has_gradient(black_box, X[:1]):
            surrogate = MinimalPerturbation(schema=schema, **self.surrogate_settings)
            try:
                surrogate.fit(X, black_box)
            except ConstantPredictorError as error:
                warnings.warn(f"{error}; until then no way out is found", FitWarning, stacklevel=2)
                surrogate, is_constant = None, True
        numbers = schema.encode(X)[:, : len(schema.continuous)]
        _, self._unit = standardization(numbers, shared=self.scale == "shared")
        self._surrogate, self._is_constant = surrogate, is_constant
        return self

    def solve(self, X: Tensor, black_box: ArrayBlackBox) -> Box:
        """Find the widths of each row's box, as the model or the surrogate sees it.

        Args:
            X: (n, d) rows.
            black_box: only a module with a gradient is asked.

        Returns:
            Widths (n, c) of the continuous features, in units.

        Raises:
            NotFittedError: before `fit`, if the black box has no gradient.
            InvalidInputError: for rows that do not fit the schema.
        """
        boxed, solver = self._boxed(X, black_box)
        with left_as_found(black_box.predictor, X.device):
            return boxed.solve(solver)

    def explain(
        self,
        X: Tensor,
        black_box: ArrayBlackBox,
        *,
        original_class: Tensor | None = None,
        target: Tensor | None = None,
    ) -> Semifactual:
        """Find the box around each row, and the nearest point outside.

        Args:
            X: (n, d) rows.
            black_box: asked about draws from the box and on the way out of it; a module with a
                gradient also by `InvariantBox`.
            original_class: (n,) the class of each row, if it is known; by default the black box is
                asked.
            target: (n,) the class to reach outside; by default any other.

        Returns:
            Bounds and counterfactuals, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`, if the black box has no gradient.
            InvalidInputError: for rows that do not fit the schema.
        """
        boxed, solver = self._boxed(X, black_box)
        if original_class is None:
            original_class = black_box.labels(X)
        self._check_original_class(original_class)
        with torch.no_grad(), left_as_found(black_box.predictor, X.device):
            # Without numbers there is no box to solve.
            width = boxed.solve(solver).width if len(boxed.unit) else boxed.numbers
            scale = boxed.safe_scale(
                width, original_class, self.n_bound_draws, self.n_rounds, solver.seed
            )
            every = torch.arange(len(X), device=X.device)
            bounds = boxed.bounds(width, every, scale)
            reach = self.max_width.to(boxed.unit).expand(boxed.unit.shape)
            outside = boxed.encoded
            if not self._is_constant:
                outside, _ = boxed.leave(width, reach, original_class, target)
        lower, upper, outside = (
            boxed.schema.decode(encoded).to(X.dtype)
            for encoded in (*(torch.cat((b, boxed.groups), dim=1) for b in bounds), outside)
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
        """Write settings, units and surrogate to one file.

        Raises:
            OSError: if the file cannot be written.
        """
        tensors = {"max_width": self.max_width}
        if self._unit is not None:
            tensors["unit"] = self._unit
        if self._surrogate is not None:
            tensors["surrogate"] = explainer_bytes(self._surrogate)
        facts = {
            "schema": None if self.schema is None else self.schema.to_dict(),
            "settings": {
                "n_bound_draws": self.n_bound_draws,
                "n_rounds": self.n_rounds,
                "confidence": self.confidence,
                "scale": self.scale,
                "surrogate": self.surrogate_settings,
                **self.settings,
            },
            "is_constant": self._is_constant,
        }
        write_explainer(path, type(self).__name__, tensors, facts)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> SemifactualBox:
        """Read what `save` wrote; it explains as it did when it was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, or of a newer version.
        """
        tensors, facts = read_explainer(path, cls.__name__, device)
        schema = None if facts["schema"] is None else FeatureSchema.from_dict(facts["schema"])
        loaded = cls(schema=schema, max_width=tensors["max_width"], **facts["settings"])
        loaded._unit, loaded._is_constant = tensors.get("unit"), facts["is_constant"]
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
                f"row {row} has class {int(original_class[row])}; fit saw the classes 0 to "
                f"{n_classes - 1} only: fit on rows of every class"
            )

    def _solver(self) -> InvariantBox:
        return InvariantBox(max_width=self.max_width, **self.settings, output_type="probabilities")

    def _boxed(self, X: Tensor, black_box: ArrayBlackBox) -> tuple[TabularBoxes, InvariantBox]:
        """The rows with what is asked about points around them, and what solves their boxes."""
        schema = self._schema_of(X)
        schema.check(X)
        unit = torch.ones(len(schema.continuous)) if self._unit is None else self._unit
        probabilities = self._model(X, schema, black_box)

        def labels(points: Tensor) -> Tensor:
            return black_box.labels(schema.decode(points).to(X.dtype))

        unit = unit.to(X.device)
        encoded = schema.encode(X).to(torch.promote_types(X.dtype, unit.dtype))
        return TabularBoxes(schema, encoded, unit, probabilities, labels), self._solver()

    def _model(
        self, X: Tensor, schema: FeatureSchema, black_box: ArrayBlackBox
    ) -> Callable[[Tensor], Tensor]:
        """What gives encoded points (m, e) class probabilities (m, K) that have a gradient."""
        if _has_gradient(black_box, X[:1]):
            if black_box.resolved_output_type == "auto":
                black_box.labels(X)
            is_probability = torch.tensor(black_box.resolved_output_type == "probabilities")

            def of_module(points: Tensor) -> Tensor:
                black_box.n_queries += len(points)
                outputs = black_box.predictor(black_box.as_asked(schema.decode(points)))
                outputs = outputs.reshape(len(points), -1).to(points.device)
                reading = is_probability.to(points.device).expand(len(points))
                return class_probabilities(outputs, reading, black_box.threshold)

            return of_module
        if self._is_constant:
            # One class everywhere, and a gradient that says so.
            return lambda points: points[:, :1] * 0 + points.new_tensor([1.0, 0.0])
        if self._surrogate is None:
            raise NotFittedError(
                "the predictor has no gradient, so its box is found on a surrogate of it: call "
                "fit(X) first"
            )
        return self._surrogate.class_probabilities


def _has_gradient(black_box: ArrayBlackBox, row: Tensor) -> bool:
    """Whether the black box is a module whose outputs have a gradient in the row (1, d)."""
    model = black_box.predictor
    if not isinstance(model, nn.Module):
        return False
    black_box.n_queries += 1
    with torch.enable_grad(), left_as_found(model, row.device):
        row = row.detach().clone().requires_grad_()
        outputs = model(black_box.as_asked(row))
        if not isinstance(outputs, Tensor) or not outputs.requires_grad:
            return False
        (slope,) = torch.autograd.grad(outputs.sum(), row, allow_unused=True)
    return slope is not None
