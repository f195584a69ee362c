"""Whether perturbed rows get another class: from the user's model, and from FIMAP's surrogate."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from xai_adapters.benchmark.metrics.counterfactual_metric import CounterfactualMetric, Outcome
from xai_adapters.benchmark.metrics.metric import register
from xai_adapters.fimap import Perturbation

_FIMAP = "Chapman-Rounds et al. 2021 (FIMAP)"


@dataclass(frozen=True)
class Perturbations(Outcome):
    """Perturbations by an explainer with a surrogate.

    Args:
        result: of the explainer, n rows.
    """

    result: Perturbation


class _SurrogateMetric(CounterfactualMetric[Perturbations]):
    takes = Perturbations
    higher_is_better = True
    source = _FIMAP


@register
class Validity(CounterfactualMetric[Outcome]):
    """Share of rows whose change gives them another class of the model itself."""

    takes = Outcome
    name = title = "validity"
    higher_is_better = True
    inputs = ("changed rows", "model")
    source = "Mothilal, Sharma and Tan 2020 (DiCE)"
    order = 70

    def compute(self, outcome: Outcome) -> Tensor:
        """(n,) 1 or 0."""
        return outcome.valid.double()


@register
class AdversarialAccuracy(_SurrogateMetric):
    """Share of rows whose perturbation reaches the target class of the surrogate.

    This is the paper's metric. The user's model may disagree, so read it beside validity.
    """

    name = "adversarial_accuracy"
    title = "adversarial accuracy"
    inputs = ("changed rows", "surrogate")
    order = 71

    def compute(self, perturbations: Perturbations) -> Tensor:
        """(n,) 1 or 0."""
        return (perturbations.result.class_after == perturbations.result.target).double()


@register
class RecoveryAccuracy(_SurrogateMetric):
    """Share of rows for which the surrogate predicts the model's class."""

    name = "recovery_accuracy"
    title = "recovery accuracy"
    inputs = ("rows", "surrogate", "model")
    order = 72

    def compute(self, perturbations: Perturbations) -> Tensor:
        """(n,) 1 or 0."""
        return (perturbations.result.class_before == perturbations.original_class).double()
