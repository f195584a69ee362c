"""The settings of `InvariantBox`: their names, types, defaults and ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict, get_args

from torch import Tensor

from xai_adapters.box.hinge import HingeOn
from xai_adapters.box.optimizer import Optimizer, Schedule, check_optimizer, check_schedule
from xai_adapters.box.samplers import SAMPLERS, SamplingName
from xai_adapters.box.shapes import SHAPES, Range, ShapeName, check_max_width
from xai_adapters.errors import InvalidInputError
from xai_adapters.model.outputs import OutputType, check_output_type
from xai_adapters.utils.options import (
    check_choice,
    check_flag,
    check_number,
    check_whole_number,
    plain_numbers,
)

# Options of files that earlier versions saved, and the defaults at which they can be dropped.
REMOVED_OPTIONS = {
    "over_classes": "sum",
    "autocast": None,
    "channels_last": False,
    "compiled": False,
}


class BoxOptions(TypedDict, total=False):
    """Options of every explainer that is built on `InvariantBox`, which documents each of them."""

    penalty: float | None
    hinge_on: HingeOn
    sampling: SamplingName
    optimizer: Optimizer
    step_size: float
    schedule: Schedule
    n_steps: int
    n_draws: int
    tolerance: float
    patience: int
    n_check_draws: int
    seed: int


class InvariantBoxOptions(BoxOptions, total=False):
    """All options of `InvariantBox`: the fields of `BoxSettings`, as keyword arguments."""

    max_width: float | Tensor
    shape: ShapeName
    bounds: Range | None
    output_type: OutputType
    threshold: float | None
    internal_batch_size: int | None
    show_progress: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxSettings:
    """How boxes are searched; `InvariantBox` documents each setting.

    Raises:
        InvalidInputError: for a value of the wrong type or out of range; the setting is named.

    Example:
        >>> BoxSettings(n_steps=0)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: n_steps must be at least 1, is 0
    """

    max_width: float | Tensor = 1.0
    shape: ShapeName = "symmetric"
    bounds: Range | None = None
    penalty: float | None = None
    hinge_on: HingeOn = "probabilities"
    sampling: SamplingName = "importance"
    optimizer: Optimizer = "rmsprop"
    step_size: float = 0.034
    schedule: Schedule = "sqrt"
    n_steps: int = 120
    n_draws: int = 24
    tolerance: float = 1e-3
    patience: int = 50
    output_type: OutputType = "auto"
    threshold: float | None = None
    n_check_draws: int = 128
    internal_batch_size: int | None = None
    seed: int = 0
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Check the settings, one by one and together."""
        plain_numbers(self)
        check_choice("shape", self.shape, SHAPES)
        check_choice("hinge_on", self.hinge_on, get_args(HingeOn))
        check_choice("sampling", self.sampling, SAMPLERS)
        check_output_type(self.output_type)
        check_optimizer(self.optimizer)
        check_schedule(self.schedule)
        check_number("penalty", self.penalty, at_least=0, optional=True)
        check_number("step_size", self.step_size, above=0)
        check_number("tolerance", self.tolerance, at_least=0)
        check_number("threshold", self.threshold, optional=True)
        for name in ("n_steps", "n_draws", "patience", "n_check_draws"):
            check_whole_number(name, getattr(self, name), at_least=1)
        check_whole_number(
            "internal_batch_size", self.internal_batch_size, at_least=1, optional=True
        )
        check_whole_number("seed", self.seed)
        check_flag("show_progress", self.show_progress)
        self._check_width()
        if self.bounds is not None and not (
            isinstance(self.bounds, tuple | list) and len(self.bounds) == 2
        ):
            raise InvalidInputError(
                f"bounds must be a lower and an upper value or None, is {self.bounds!r:.60}"
            )
        self._check_sampling()

    def _check_width(self) -> None:
        width = check_max_width(self.max_width)
        if SHAPES[self.shape].has_baseline and (width > 1).any():
            raise InvalidInputError(
                f"max_width must be at most 1 for the shape {self.shape!r}, whose widths are "
                f"shares of the way to the baseline; it is {self.max_width!r:.60}"
            )

    def _check_sampling(self) -> None:
        sampler = SAMPLERS[self.sampling]
        if self.shape not in sampler.shapes:
            shapes = " or ".join(map(repr, sampler.shapes))
            raise InvalidInputError(
                f"sampling={self.sampling!r} needs shape={shapes}, is given {self.shape!r}"
            )
        if sampler.needs_bounds and self.bounds is None:
            raise InvalidInputError(
                f"sampling={self.sampling!r} needs the data's range: give bounds, (0, 1) for images"
            )
