"""The options of `SemifactualBox`, for the adapters that pass them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from xai_adapters.box.settings import REMOVED_OPTIONS, BoxOptions
from xai_adapters.fimap.settings import REMOVED_SETTINGS, FittingOptions, Scale
from xai_adapters.utils.persistence import without_removed


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


def current_options(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Saved options without those that no longer exist, in those of the surrogate too.

    Raises:
        SavedExplainerError: if such an option was not at its default.
    """
    options = without_removed(saved, REMOVED_OPTIONS)
    if options.get("surrogate"):
        options["surrogate"] = without_removed(options["surrogate"], REMOVED_SETTINGS)
    return options
