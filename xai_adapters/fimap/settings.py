"""How FIMAP's networks are built and fitted: every setting, its default, and its check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.schema import FeatureSchema


# Compared and hashed by identity, as explainers are.
@dataclass(kw_only=True, eq=False)
class FittingSettings:
    """The settings of `MinimalPerturbation`, which says what each of them does.

    Raises:
        InvalidInputError: for a value that cannot be used; the setting is named.
    """

    schema: FeatureSchema | None = None
    surrogate_widths: Sequence[int] = (200, 200)
    perturber_widths: Sequence[int] = (100, 100, 100, 100)
    dropout: float = 0.2
    learning_rate: float = 3e-3
    epochs: int = 10
    batch_size: int | None = None
    loss: Literal["cross_entropy", "margin"] = "cross_entropy"
    margin: float = 1.0
    penalty: float = 0.1
    norm: Literal["l1", "l2"] = "l2"
    category_penalty: float = 0.2
    max_categories: int | None = None
    flip_rate: float | None = None
    noise: float = 0.0
    soft_labels: bool = True
    straight_through: bool = True
    query_budget: int | None = None
    query_rounds: int = 4
    validation_fraction: float = 0.0
    patience: int | None = None
    scale: Literal["column", "shared"] = "column"
    seed: int = 0
    show_progress: bool = False

    def __post_init__(self) -> None:
        """Check the settings, one by one and together."""
        for name, allowed in (
            ("dropout", 0 <= self.dropout < 1),
            ("learning_rate", self.learning_rate > 0),
            ("epochs", self.epochs >= 1),
            ("batch_size", self.batch_size is None or self.batch_size >= 1),
            ("loss", self.loss in ("cross_entropy", "margin")),
            ("margin", self.margin >= 0),
            ("penalty", self.penalty >= 0),
            ("norm", self.norm in ("l1", "l2")),
            ("category_penalty", self.category_penalty >= 0),
            ("max_categories", self.max_categories is None or self.max_categories >= 0),
            ("flip_rate", self.flip_rate is None or 0 < self.flip_rate < 1),
            ("noise", self.noise >= 0),
            ("query_budget", self.query_budget is None or self.query_budget >= 0),
            ("query_rounds", self.query_rounds >= 1),
            ("validation_fraction", 0 <= self.validation_fraction < 1),
            ("patience", self.patience is None or self.patience >= 1),
            ("scale", self.scale in ("column", "shared")),
        ):
            if not allowed:
                raise InvalidInputError(f"{name} cannot be {getattr(self, name)!r}")
        if self.patience is not None and self.validation_fraction == 0:
            raise InvalidInputError(
                "patience waits for the loss on validation rows: set validation_fraction too, "
                "to 0.1 for example"
            )
        self.surrogate_widths = tuple(self.surrogate_widths)
        self.perturber_widths = tuple(self.perturber_widths)
