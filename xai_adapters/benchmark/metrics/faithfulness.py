"""Whether scores predict what the model loses without the features."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import AttributionMetric, Attributions
from xai_adapters.benchmark.metrics.metric import register

_SUBSETS = 50


@register
class Faithfulness(AttributionMetric):
    """Correlation of the scores of removed features with the probability that is lost.

    Random halves of the features are removed: set to the mask's value in images, and to the
    background's mean in tables.
    """

    name = title = "faithfulness"
    higher_is_better = True
    range = (-1.0, 1.0)
    source = "Bhatt, Weller and Moura 2020"
    default_on = ("tabular",)
    order = 43

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,), 0 where scores or losses are constant.

        All rows share the halves, so that a row's value does not depend on its block.
        """
        relevance = attributions.relevance
        d = relevance.shape[1]
        generator = torch.Generator().manual_seed(attributions.seed)
        order = torch.rand(_SUBSETS, d, generator=generator).argsort(dim=1)
        absent = (order < (d + 1) // 2).to(attributions.rows.device)
        removed = relevance.double() @ absent.T.double()
        return correlation(removed, _lost_probability(attributions, absent))


def _lost_probability(attributions: Attributions, absent: Tensor) -> Tensor:
    """(n, subsets) fall of the class's probability without the features (subsets, d)."""
    rows, classes, task = attributions.rows, attributions.classes, attributions.task
    fill: Tensor | float = task.mask_value
    if task.kind == "image":
        absent = absent.view(-1, 1, *rows.shape[2:])
    else:
        fill = task.background.mean(dim=0)
    batch = max(1, attributions.black_box.batch_size // _SUBSETS)
    left = []
    for some, labels in zip(rows.split(batch), classes.split(batch), strict=True):
        masked = torch.where(absent, fill, some[:, None]).flatten(0, 1)
        answers = attributions.probability(masked, labels.repeat_interleave(_SUBSETS))
        left.append(answers.view(-1, _SUBSETS))
    return (attributions.probability(rows, classes)[:, None] - torch.cat(left)).double()


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation (n,) of rows (n, m); 0 where one is constant."""
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    return torch.nn.functional.cosine_similarity(first, second, dim=1)
