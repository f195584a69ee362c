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
# Added to a metric's name where it is measured on rows for which every explainer succeeded.
COMMON = "_common"
COMPARED_IN_COMMON = ("changed_features", "l1", "l2")


@dataclass(frozen=True)
class Metric:
    """Facts on a metric, for tables and reports.

    Args:
        title: the heading of its column.
        description: what it says, in a sentence or two.
        higher_is_better: which end is good.
        kind: the tasks it is measured on.
        unit: of its values, "" for shares.
        thresholds: where it is measured, if it is a curve.
    """

    title: str
    description: str
    higher_is_better: bool
    kind: Literal["image", "tabular", "counterfactual"]
    unit: str = ""
    thresholds: tuple[float, ...] = ()


METRICS = {
    CURVE: Metric(
        "changed decisions",
        "Share of images whose class changes when the given share of pixels, least relevant "
        "first, is set to the mask's value. The lower the curve, the better were the irrelevant "
        "pixels told from the relevant ones.",
        False,
        "image",
        thresholds=THRESHOLDS,
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
    **{
        name: Metric(
            title,
            f"{description} Over the rows that changed their class.",
            better,
            "counterfactual",
            unit,
        )
        for name, (title, description, better, unit) in {
            "changed_features": ("features changed", "How many features changed.", False, ""),
            "changed_categories": (
                "categories changed",
                "How many of them are categories.",
                False,
                "",
            ),
            "l1": ("L1", "Sum of the numbers' changes in standard deviations.", False, "sd"),
            "l1_mad": (
                "L1 / MAD",
                "Sum of the numbers' changes in median absolute deviations.",
                False,
                "",
            ),
            "l2": ("L2", "Euclidean length of the numbers' changes.", False, "sd"),
            "linf": ("L∞", "Largest change of a number.", False, "sd"),
            "removable_changes": (
                "removable",
                "How many changed features can be put back, each alone, without losing "
                "the new class.",
                False,
                "",
            ),
            "neighbour_distance": (
                "to neighbours",
                "Mean distance to the five nearest training rows of the class that "
                "was reached; small is plausible.",
                False,
                "",
            ),
            "log_density": (
                "log density",
                "Logarithm of a kernel estimate of the density of training rows of "
                "the class that was reached; large is plausible.",
                True,
                "",
            ),
        }.items()
    },
    "violations": Metric(
        "violations",
        "How many features of a row break what the schema allows: immutable, out of bounds, the "
        "wrong way, not one-hot.",
        False,
        "counterfactual",
    ),
    **{
        name + COMMON: Metric(
            f"{title}, common rows",
            "The same over the rows for which every explainer of at least half validity succeeded.",
            False,
            "counterfactual",
            unit,
        )
        for name, title, unit in (
            ("changed_features", "features changed", ""),
            ("l1", "L1", "sd"),
            ("l2", "L2", "sd"),
        )
    },
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
