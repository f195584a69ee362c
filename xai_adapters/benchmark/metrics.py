"""What is measured of explainers: pure functions of scores and predictions, and facts on each.

A metric never sees an explainer; it is given what the explainer said of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.benchmark.masking_curve import THRESHOLDS
from xai_adapters.core.minimal_perturbation import Perturbation

CURVE = "masking_curve"
MASKED_SHARES = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Metric:
    """Facts on a metric, for tables and reports.

    Args:
        title: the heading of its column.
        description: what it says, in a sentence or two.
        higher_is_better: which end is good.
        kind: the tasks it is measured on.
        unit: of its values, "" for shares.
    """

    title: str
    description: str
    higher_is_better: bool
    kind: Literal["image", "tabular", "counterfactual"]
    unit: str = ""


METRICS = {
    CURVE: Metric(
        "changed decisions",
        "Share of images whose class changes when the given share of pixels, least relevant "
        "first, is set to the mask's value. The lower the curve, the better were the irrelevant "
        "pixels told from the relevant ones.",
        False,
        "image",
    ),
    "masking_area": Metric(
        "masking area",
        "Area under the masking curve, from nothing to everything masked.",
        False,
        "image",
    ),
    **{
        f"changed_{share:.0%}".rstrip("%"): Metric(
            f"changed at {share:.0%}",
            f"Share of images whose class changes when the least relevant {share:.0%} of the "
            "pixels are masked.",
            False,
            "image",
        )
        for share in MASKED_SHARES
    },
    "cosine_to_lime": Metric(
        "cosine to LIME",
        "Mean cosine between the attribution and lime_tabular's weights for the predicted class. "
        "It tells agreement with LIME, which is not the same as being right.",
        True,
        "tabular",
    ),
    "validity": Metric(
        "validity",
        "Share of rows whose perturbation changes the class that the black box itself gives.",
        True,
        "counterfactual",
    ),
    "adversarial_accuracy": Metric(
        "adversarial accuracy",
        "Share of rows whose perturbation gives the surrogate the class it was to reach. The "
        "paper's figure; the user's model may disagree, so read it beside validity.",
        True,
        "counterfactual",
    ),
    "recovery_accuracy": Metric(
        "recovery accuracy",
        "Share of rows on which the surrogate gives the black box's class.",
        True,
        "counterfactual",
    ),
}


def masking_metrics(changed: Tensor) -> dict[str, Tensor]:
    """The masking metrics of each image.

    Args:
        changed: (n, thresholds) bool, at `THRESHOLDS`.

    Returns:
        (n,) values by metric; the area is by the trapezoidal rule.
    """
    values = changed.double()
    thresholds = torch.tensor(THRESHOLDS, dtype=values.dtype, device=values.device)
    at_share = {
        f"changed_{share:.0%}".rstrip("%"): values[:, THRESHOLDS.index(share)]
        for share in MASKED_SHARES
    }
    return {"masking_area": torch.trapezoid(values, thresholds, dim=1), **at_share}


def cosine(scores: Tensor, reference: Tensor) -> Tensor:
    """Cosine (n,) between rows of two sets of scores (n, ...); 0 where one is all zeros."""
    return cosine_similarity(scores.flatten(1).double(), reference.flatten(1).double(), dim=1)


def counterfactual_metrics(found: Perturbation, before: Tensor, after: Tensor) -> dict[str, Tensor]:
    """The counterfactual metrics of each row.

    Args:
        found: what the explainer found, n rows.
        before: (n,) the black box's class of each row.
        after: (n,) the black box's class of each perturbed row.

    Returns:
        (n,) values by metric.
    """
    return {
        "validity": (after != before).double(),
        "adversarial_accuracy": (found.class_after == found.target).double(),
        "recovery_accuracy": (found.class_before == before).double(),
    }
