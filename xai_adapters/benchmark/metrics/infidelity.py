"""Captum's infidelity: whether scores predict the effect of small changes."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import AttributionMetric, Attributions
from xai_adapters.benchmark.metrics.metric import NON_NEGATIVE, register
from xai_adapters.errors import require

N_PERTURBATIONS = 10
# Share of a feature's range.
RADIUS = 0.02


@register
class Infidelity(AttributionMetric):
    """Mean squared error of predicting the output's change from the scores.

    Features are moved a little at random; the scores are scaled to predict as well as they can.
    """

    name = title = "infidelity"
    higher_is_better = False
    range = NON_NEGATIVE
    source = "Yeh et al. 2019, by Captum"
    order = 41

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        metrics = require("captum.metrics", "captum")
        rows, radius = attributions.rows, attributions.feature_range * RADIUS

        def forward(rows: Tensor) -> Tensor:
            return attributions.black_box.probabilities(rows).to(rows.dtype)

        def perturb(copies: Tensor) -> tuple[Tensor, Tensor]:
            moves = radius * attributions.drawn(torch.randn, len(copies) // len(rows))
            return moves, copies - moves

        values: Tensor = metrics.infidelity(
            forward, perturb, rows, attributions.scores, target=attributions.classes,
            n_perturb_samples=N_PERTURBATIONS, normalize=True,
        )  # fmt: skip
        return values
