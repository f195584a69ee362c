"""The settings of FIMAP: their names, types, defaults and ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.options import (
    check_choice,
    check_flag,
    check_number,
    check_whole_number,
    plain_numbers,
)

Norm = Literal["l1", "l2"]
Scale = Literal["column", "shared"]
# Settings of files that earlier versions saved, and the defaults at which they can be dropped.
REMOVED_SETTINGS = {
    "loss": "cross_entropy",
    "margin": 1.0,
    "flip_rate": None,
    "straight_through": True,
}


class FittingOptions(TypedDict, total=False):
    """The fields of `FittingSettings`, as keyword arguments of calls that pass them on."""

    surrogate_widths: Sequence[int]
    perturber_widths: Sequence[int]
    dropout: float
    learning_rate: float
    epochs: int
    batch_size: int | None
    penalty: float
    norm: Norm
    category_penalty: float
    max_categories: int | None
    noise: float
    soft_labels: bool
    query_budget: int | None
    query_rounds: int
    validation_fraction: float
    patience: int | None
    scale: Scale
    seed: int
    show_progress: bool


@dataclass(frozen=True, kw_only=True)
class FittingSettings:
    """How FIMAP's networks are built and fitted; `MinimalPerturbation` documents each setting.

    Raises:
        InvalidInputError: for a value of the wrong type or out of range; the setting is named.

    Example:
        >>> FittingSettings(penalty=-1)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: penalty must be at least 0, is -1
    """

    surrogate_widths: Sequence[int] = (200, 200)
    perturber_widths: Sequence[int] = (100, 100, 100, 100)
    dropout: float = 0.2
    learning_rate: float = 3e-3
    epochs: int = 10
    batch_size: int | None = None
    penalty: float = 0.1
    norm: Norm = "l2"
    category_penalty: float = 0.2
    max_categories: int | None = None
    noise: float = 0.0
    soft_labels: bool = True
    query_budget: int | None = None
    query_rounds: int = 4
    validation_fraction: float = 0.0
    patience: int | None = None
    scale: Scale = "column"
    seed: int = 0
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Check the settings, one by one and together."""
        plain_numbers(self)
        for name in ("surrogate_widths", "perturber_widths"):
            object.__setattr__(self, name, _widths(name, getattr(self, name)))
        check_number("dropout", self.dropout, at_least=0, below=1)
        check_number("learning_rate", self.learning_rate, above=0)
        check_whole_number("epochs", self.epochs, at_least=1)
        check_whole_number("batch_size", self.batch_size, at_least=1, optional=True)
        check_number("penalty", self.penalty, at_least=0)
        check_choice("norm", self.norm, ("l1", "l2"))
        check_number("category_penalty", self.category_penalty, at_least=0)
        check_whole_number("max_categories", self.max_categories, at_least=0, optional=True)
        check_number("noise", self.noise, at_least=0)
        check_flag("soft_labels", self.soft_labels)
        check_whole_number("query_budget", self.query_budget, at_least=0, optional=True)
        check_whole_number("query_rounds", self.query_rounds, at_least=1)
        check_number("validation_fraction", self.validation_fraction, at_least=0, below=1)
        check_whole_number("patience", self.patience, at_least=1, optional=True)
        check_choice("scale", self.scale, ("column", "shared"))
        check_whole_number("seed", self.seed)
        check_flag("show_progress", self.show_progress)
        if self.patience is not None and self.validation_fraction == 0:
            raise InvalidInputError(
                "patience counts epochs without a better loss on validation rows: set "
                "validation_fraction too, to 0.1 for example"
            )


def _widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    if isinstance(widths, str) or not isinstance(widths, Sequence):
        raise InvalidInputError(f"{name} must be a sequence of whole numbers, is {widths!r:.60}")
    for width in widths:
        check_whole_number(name, width, at_least=1)
    return tuple(widths)
