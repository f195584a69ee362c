"""Captum's max-sensitivity: how much the scores change when a row hardly does."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import AttributionMetric, Attributions
from xai_adapters.benchmark.metrics.infidelity import N_PERTURBATIONS, RADIUS
from xai_adapters.benchmark.metrics.metric import NON_NEGATIVE, register
from xai_adapters.errors import require


@register
class MaxSensitivity(AttributionMetric):
    """Largest relative change of the scores when the row moves by 2 % of its features' ranges."""

    name = "max_sensitivity"
    title = "max sensitivity"
    higher_is_better = False
    range = NON_NEGATIVE
    inputs = ("explainer", "rows")
    source = "Yeh et al. 2019, by Captum"
    order = 42

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        metrics = require("captum.metrics", "captum")
        radius = attributions.feature_range * RADIUS

        def perturb(copies: Tensor, _: float = 0.0) -> Tensor:
            n = len(copies) // len(attributions.rows)
            return copies + radius * (2 * attributions.drawn(torch.rand, n) - 1)

        def explain(rows: Tensor | tuple[Tensor], target: Tensor) -> tuple[Tensor]:
            # Captum passes the original rows in a tuple, and perturbed rows without one.
            return (attributions.explain(rows[0] if isinstance(rows, tuple) else rows, target),)

        values: Tensor = metrics.sensitivity_max(
            explain, attributions.rows, perturb_func=perturb, n_perturb_samples=N_PERTURBATIONS,
            target=attributions.classes,
        )  # fmt: skip
        return values
