"""The options of `SemifactualBox`, for the adapters that pass them on."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from xai_adapters.box.settings import BoxOptions
from xai_adapters.fimap.settings import FittingOptions, Scale


class SemifactualOptions(BoxOptions, total=False):
    """Options that are passed on to `SemifactualBox`, which documents each of them."""

    max_width: float | Sequence[float] | Tensor
    n_bound_draws: int
    n_rounds: int
    confidence: float
    scale: Scale
    surrogate: FittingOptions | None
    internal_batch_size: int | None
    show_progress: bool
