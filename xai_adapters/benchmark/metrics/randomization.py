"""Whether scores depend on what the model learned: its layers are randomised one after another."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from xai_adapters.benchmark.metrics.attribution_metric import (
    AttributionMetric,
    Attributions,
    relevance,
    shared,
)
from xai_adapters.benchmark.metrics.metric import register
from xai_adapters.utils.rank_correlation import rank_correlation

Model = TypeVar("Model", bound=nn.Module)

# Shares of the layers, counted from the output.
SHARES = (0.25, 0.5, 0.75, 1.0)
ALONG_LAYERS = "share of layers randomised"


class _Randomization(AttributionMetric):
    group = "randomization"
    higher_is_better = False
    range = (-1.0, 1.0)
    inputs = ("explainer", "rows", "model")
    source = "Adebayo et al. 2018, cascading randomisation"
    needs_layers = True


@register
class RandomizationCurve(_Randomization):
    """Rank correlation of scores with those for the model with its last layers randomised.

    If an explainer's scores stay the same, it does not look at those layers.
    """

    name = "randomization_curve"
    title = "similarity to the randomised model's scores"
    thresholds = SHARES
    along = ALONG_LAYERS
    order = 50

    def compute(self, attributions: Attributions) -> Tensor:
        """(n, shares), NaN where the scores for the randomised model are not finite."""
        return _similarities(attributions)


@register
class Randomization(_Randomization):
    """Rank correlation of scores with those for the model with all layers randomised.

    About 0 for an explainer that looks at the model. Random scores get 1, as both models get the
    same random numbers.
    """

    name = "randomization"
    title = "similarity, randomised"
    order = 51

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,), NaN where the scores for the randomised model are not finite."""
        return _similarities(attributions)[:, -1]


@shared
def _similarities(attributions: Attributions) -> Tensor:
    own, similarities = attributions.relevance, []
    for share in SHARES:
        model = randomized(attributions.task.model, share, attributions.seed)
        explain = attributions.explain_model(f"randomised {share}", model)
        scores = explain(attributions.rows, attributions.classes)
        other = relevance(scores, attributions.by_magnitude)
        known = torch.isfinite(other).all(dim=1)
        similarities.append(rank_correlation(own, other).where(known, torch.nan))
    return torch.stack(similarities, dim=1)


def layers(model: nn.Module) -> list[nn.Module]:
    """The modules with parameters of their own, in the order in which they are registered."""
    return [module for module in model.modules() if [*module.parameters(recurse=False)]]


@torch.no_grad()
def randomized(model: Model, share: float, seed: int) -> Model:
    """A copy of a model whose last layers hold random numbers instead of what they learned.

    Adebayo et al. 2018, section 3: "cascading randomization". Each parameter is drawn from a normal
    distribution with mean 0 and the root mean square of the parameter. For one seed, a layer gets
    the same numbers whatever the share.

    Args:
        model: left as it is. Its layers are assumed to be registered in the order of their use.
        share: of its layers, in [0, 1], rounded up; the last ones are randomised.
        seed: of the random numbers.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        >>> changed = randomized(model, 0.5, seed=0)
        >>> torch.equal(changed[0].weight, model[0].weight)
        True
        >>> torch.equal(changed[1].weight, model[1].weight)
        False
    """
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    from_output = layers(model)[::-1]
    for layer in from_output[: math.ceil(share * len(from_output))]:
        for parameter in layer.parameters(recurse=False):
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter.copy_(noise * parameter.square().mean().sqrt())
    return model
