"""What is measured of explainers: pure functions of scores and predictions, and facts on each.

A metric never sees an explainer; it is given what the explainer said of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from xai_adapters.benchmark.metrics.masking_curve import THRESHOLDS
from xai_adapters.benchmark.metrics.randomization import SHARES
from xai_adapters.fimap import Perturbation

CURVE, INSERTION, DELETION = "masking_curve", "insertion_curve", "deletion_curve"
RANDOMIZATION, ALONG_LAYERS = "randomization_curve", "share of layers randomised"
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
        higher_is_better: which end is good; None where neither is.
        kind: the tasks it is measured on; "attribution" is of images and tables.
        unit: of its values, "" for shares.
        thresholds: where it is measured, if it is a curve; `along` says what they are.
        range: the least and the largest value there can be; None for no end.
        inputs: what it is computed from.
        source: where it comes from.
        fill: what masked pixels become, if it is not the task's own mask.
    """

    title: str
    description: str
    higher_is_better: bool | None
    kind: Literal["image", "tabular", "attribution", "counterfactual"]
    unit: str = ""
    thresholds: tuple[float, ...] = ()
    along: str = "share masked"
    range: tuple[float | None, float | None] = (0.0, 1.0)
    inputs: tuple[str, ...] = ("scores", "rows", "model")
    source: str = ""
    fill: str = ""


_IKENO = "Ikeno and Hara 2018, section 4.2"
_PETSIUK = "Petsiuk, Das and Saenko 2018 (RISE)"
_FIMAP = "Chapman-Rounds et al. 2021 (FIMAP)"
_ADEBAYO = "Adebayo et al. 2018, cascading randomisation"
_MOTHILAL = "Mothilal, Sharma and Tan 2020 (DiCE)"
_PAWELCZYK = "Pawelczyk et al. 2021 (CARLA)"
_OWN = "xai-adapters"
_UNLIMITED = (0.0, None)

_OF_IMAGES = {
    CURVE: Metric(
        "changed decisions",
        "Share of images whose class changes when the given share of pixels, least relevant "
        "first, is masked. The lower the curve, the better were the irrelevant pixels told from "
        "the relevant ones.",
        False,
        "image",
        thresholds=THRESHOLDS,
        source=_IKENO,
    ),
    "masking_area": Metric(
        "masking area",
        "Area under the masking curve, from nothing to everything masked.",
        False,
        "image",
        source=_IKENO,
    ),
    **{
        f"changed_{share:.0%}".rstrip("%"): Metric(
            f"changed at {share:.0%}",
            f"Share of images whose class changes when the least relevant {share:.0%} of the "
            "pixels are masked.",
            False,
            "image",
            source=_IKENO,
        )
        for share in MASKED_SHARES
    },
    INSERTION: Metric(
        "class probability, insertion",
        "Probability of the image's class when the given share of its pixels, most relevant "
        "first, is uncovered. The sooner it rises, the better were the relevant pixels found.",
        True,
        "image",
        thresholds=THRESHOLDS,
        along="share uncovered",
        source=_PETSIUK,
    ),
    "insertion_area": Metric(
        "insertion area", "Area under the insertion curve.", True, "image", source=_PETSIUK
    ),
    DELETION: Metric(
        "class probability, deletion",
        "Probability of the image's class when the given share of its pixels, most relevant "
        "first, is masked. The sooner it falls, the better were the relevant pixels found.",
        False,
        "image",
        thresholds=THRESHOLDS,
        source=_PETSIUK,
    ),
    "deletion_area": Metric(
        "deletion area", "Area under the deletion curve.", False, "image", source=_PETSIUK
    ),
}
_OF_ATTRIBUTIONS = {
    "sparseness": Metric(
        "sparseness",
        "Gini index of the scores' magnitudes: 0 where all features matter alike, near 1 where "
        "few matter. Being easy to read is not being right.",
        None,
        "attribution",
        inputs=("scores",),
        source="Chalasani et al. 2020",
    ),
    "infidelity": Metric(
        "infidelity",
        "Mean squared error of predicting the output's change from the scores, when features are "
        "moved a little at random; the scores are scaled to predict as well as they can.",
        False,
        "attribution",
        range=_UNLIMITED,
        source="Yeh et al. 2019, by Captum",
    ),
    "max_sensitivity": Metric(
        "max sensitivity",
        "Largest change of the scores, as a share of their length, when the row moves by 2 % of "
        "the range of its features.",
        False,
        "attribution",
        range=_UNLIMITED,
        inputs=("explainer", "rows"),
        source="Yeh et al. 2019, by Captum",
    ),
    "faithfulness": Metric(
        "faithfulness",
        "Correlation, over random halves of the features set to the mask's value (a table's to "
        "the background's mean), of the scores they hold with what the class's probability loses.",
        True,
        "attribution",
        range=(-1.0, 1.0),
        source="Bhatt, Weller and Moura 2020",
    ),
    RANDOMIZATION: Metric(
        "likeness of the randomised model's scores",
        "Rank correlation of a row's features between the model and the same with the given share "
        "of its layers, the last first, holding random numbers. An explainer whose scores stay the "
        "same does not look at those layers.",
        False,
        "attribution",
        thresholds=SHARES,
        along=ALONG_LAYERS,
        range=(-1.0, 1.0),
        inputs=("explainer", "rows", "model"),
        source=_ADEBAYO,
    ),
    "randomization": Metric(
        "likeness, randomised",
        "Rank correlation of a row's features between the model and the same with all layers "
        "holding random numbers, drawn once: about 0 for an explainer that looks at the model. "
        "Random scores get 1, as they are drawn alike for both.",
        False,
        "attribution",
        range=(-1.0, 1.0),
        inputs=("explainer", "rows", "model"),
        source=_ADEBAYO,
    ),
    "seed_stability": Metric(
        "stability",
        "Mean cosine between the scores that the explainer gives when it is made with different "
        "seeds.",
        True,
        "attribution",
        range=(-1.0, 1.0),
        inputs=("scores of several seeds",),
        source=_FIMAP,
    ),
    "cosine_to_lime": Metric(
        "cosine to LIME",
        "Mean cosine between the attribution and lime_tabular's weights for the predicted class. "
        "It tells agreement with LIME, which is not the same as being right.",
        True,
        "tabular",
        range=(-1.0, 1.0),
        inputs=("scores", "LIME's scores"),
        source=_FIMAP,
    ),
}
_OF_PERTURBATIONS = {
    "validity": Metric(
        "validity",
        "Share of rows whose perturbation changes the class that the black box itself gives.",
        True,
        "counterfactual",
        inputs=("changed rows", "model"),
        source=_MOTHILAL,
    ),
    "adversarial_accuracy": Metric(
        "adversarial accuracy",
        "Share of rows whose perturbation gives the surrogate the class it was to reach. The "
        "paper's figure; the user's model may disagree, so read it beside validity.",
        True,
        "counterfactual",
        inputs=("changed rows", "surrogate"),
        source=_FIMAP,
    ),
    "recovery_accuracy": Metric(
        "recovery accuracy",
        "Share of rows on which the surrogate gives the black box's class.",
        True,
        "counterfactual",
        inputs=("rows", "surrogate", "model"),
        source=_FIMAP,
    ),
}


def _distance(
    title: str,
    description: str,
    unit: str = "",
    *,
    source: str = _PAWELCZYK,
    higher_is_better: bool = False,
    range: tuple[float | None, float | None] = _UNLIMITED,
) -> Metric:
    """A metric of the rows that changed their class."""
    return Metric(
        title,
        f"{description} Over the rows that changed their class.",
        higher_is_better,
        "counterfactual",
        unit,
        range=range,
        inputs=("rows", "changed rows", "training rows"),
        source=source,
    )


_OF_COUNTERFACTUALS = {
    "changed_features": _distance("features changed", "How many features changed."),
    "changed_categories": _distance("categories changed", "How many of them are categories."),
    "l1": _distance("L1", "Sum of the numbers' changes in standard deviations.", "sd"),
    "l1_mad": _distance(
        "L1 / MAD",
        "Sum of the numbers' changes in median absolute deviations.",
        source="Wachter, Mittelstadt and Russell 2018",
    ),
    "l2": _distance("L2", "Euclidean length of the numbers' changes.", "sd"),
    "linf": _distance("L∞", "Largest change of a number.", "sd"),
    "removable_changes": _distance(
        "removable",
        "How many changed features can be put back, each alone, without losing the new class.",
        source=_OWN,
    ),
    "neighbour_distance": _distance(
        "to neighbours",
        "Mean distance to the five nearest training rows of the class that was reached; small is "
        "plausible.",
    ),
    "log_density": _distance(
        "log density",
        "Logarithm of a kernel estimate of the density of training rows of the class that was "
        "reached; large is plausible.",
        source="Scott 1992",
        higher_is_better=True,
        range=(None, None),
    ),
    "violations": Metric(
        "violations",
        "How many features of a row break what the schema allows: immutable, out of bounds, the "
        "wrong way, not one-hot.",
        False,
        "counterfactual",
        range=_UNLIMITED,
        inputs=("rows", "changed rows", "schema"),
        source=_PAWELCZYK,
    ),
}

METRICS = {**_OF_IMAGES, **_OF_ATTRIBUTIONS, **_OF_PERTURBATIONS, **_OF_COUNTERFACTUALS} | {
    name + COMMON: replace(
        _OF_COUNTERFACTUALS[name],
        title=f"{_OF_COUNTERFACTUALS[name].title}, common rows",
        description="The same over the rows for which every explainer of at least half validity "
        "succeeded.",
    )
    for name in COMPARED_IN_COMMON
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
