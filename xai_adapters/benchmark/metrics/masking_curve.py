"""Masking, insertion and deletion curves of images, and the areas under them."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import (
    AttributionMetric,
    Attributions,
    shared,
)
from xai_adapters.benchmark.metrics.masking import THRESHOLDS, masked_answers, relevance_ranks
from xai_adapters.benchmark.metrics.metric import register

MASKED_SHARES = (0.3, 0.5, 0.7)


class _Masking(AttributionMetric):
    """A metric of images with the least relevant pixels masked (Ikeno and Hara 2018)."""

    group = "masking"
    kind = "image"
    higher_is_better = False
    source = "Ikeno and Hara 2018, section 4.2"
    default_on: tuple[str, ...] = ("image",)
    uses_mask = True


class _Insertion(_Masking):
    """A metric of images with the most relevant pixels uncovered (Petsiuk et al. 2018)."""

    higher_is_better = True
    source = "Petsiuk, Das and Saenko 2018 (RISE)"


class _Deletion(_Insertion):
    """A metric of images with the most relevant pixels masked (Petsiuk et al. 2018)."""

    group = "deletion"
    higher_is_better = False
    default_on = ()


@register
class MaskingCurve(_Masking):
    """Share of images whose class changes when the least relevant pixels are masked.

    The lower the curve, the better the explainer separates irrelevant from relevant pixels.
    """

    name = "masking_curve"
    title = "changed decisions"
    thresholds = THRESHOLDS
    order = 10

    def compute(self, attributions: Attributions) -> Tensor:
        """(n, thresholds)."""
        return _changed(attributions).double()


@register
class MaskingArea(_Masking):
    """Area under the masking curve, from nothing masked to everything masked."""

    name = "masking_area"
    title = "masking area"
    order = 11

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        return area(_changed(attributions).double())


class ChangedAt(_Masking):
    """Whether the class changes at one share of masked pixels."""

    order = 12

    def __init__(self, share: float) -> None:
        self.share = share
        self.name = f"changed_{share * 100:.0f}"
        self.title = f"changed at {share:.0%}"
        self.description = (
            f"Share of images whose class changes when the least relevant {share:.0%} of the "
            "pixels are masked."
        )

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        return _changed(attributions)[:, THRESHOLDS.index(self.share)].double()


for _share in MASKED_SHARES:
    register(ChangedAt(_share))


@register
class InsertionCurve(_Insertion):
    """Probability of the predicted class as pixels are uncovered, the most relevant first.

    The sooner it rises, the better the explainer found the relevant pixels.
    """

    name = "insertion_curve"
    title = "class probability, insertion"
    thresholds = THRESHOLDS
    along = "share uncovered"
    order = 20

    def compute(self, attributions: Attributions) -> Tensor:
        """(n, thresholds)."""
        return _of_class(_least_relevant_masked(attributions), attributions.classes).flip(1)


@register
class InsertionArea(_Insertion):
    """Area under the insertion curve."""

    name = "insertion_area"
    title = "insertion area"
    order = 21

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        return area(InsertionCurve().compute(attributions))


@register
class DeletionCurve(_Deletion):
    """Probability of the predicted class as pixels are masked, the most relevant first.

    The sooner it falls, the better the explainer found the relevant pixels.
    """

    name = "deletion_curve"
    title = "class probability, deletion"
    thresholds = THRESHOLDS
    order = 30

    def compute(self, attributions: Attributions) -> Tensor:
        """(n, thresholds)."""
        return _of_class(_most_relevant_masked(attributions), attributions.classes)


@register
class DeletionArea(_Deletion):
    """Area under the deletion curve."""

    name = "deletion_area"
    title = "deletion area"
    order = 31

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,)."""
        return area(DeletionCurve().compute(attributions))


def area(curve: Tensor) -> Tensor:
    """Area (n,) under curves (n, thresholds), by the trapezoidal rule."""
    return torch.trapezoid(curve, curve.new_tensor(THRESHOLDS), dim=1)


def _changed(attributions: Attributions) -> Tensor:
    """(n, thresholds) whether the class changes as the least relevant pixels are masked."""
    return _least_relevant_masked(attributions).argmax(dim=2) != attributions.classes[:, None]


@shared
def _least_relevant_masked(attributions: Attributions) -> Tensor:
    return _masked(attributions, most_relevant_first=False)


@shared
def _most_relevant_masked(attributions: Attributions) -> Tensor:
    return _masked(attributions, most_relevant_first=True)


def _masked(attributions: Attributions, *, most_relevant_first: bool) -> Tensor:
    """(n, thresholds, classes) probabilities."""
    own = attributions.task.mask_value
    return masked_answers(
        attributions.black_box.probabilities,
        attributions.rows,
        relevance_ranks(
            attributions.scores, by_magnitude=attributions.by_magnitude, seed=attributions.seed
        ),
        fill=own if attributions.fill is None else attributions.fill,
        batch_size=attributions.black_box.batch_size,
        most_relevant_first=most_relevant_first,
    )


def _of_class(answers: Tensor, classes: Tensor) -> Tensor:
    index = classes[:, None, None].expand(-1, answers.shape[1], 1)
    return answers.gather(2, index)[:, :, 0].double()
