"""Validity is measured on the black box, the paper's accuracies on the surrogate."""

from __future__ import annotations

import torch

from xai_adapters.benchmark.metrics.metric import measured, registered_metrics
from xai_adapters.benchmark.metrics.validity import Perturbations
from xai_adapters.fimap import Perturbation


def test_validity_is_measured_on_the_black_box_and_not_on_the_surrogate() -> None:
    perturbations = Perturbations(torch.tensor([0]), torch.tensor([0]), _perturbation())
    assert {
        name: value.item() for name, value in measured(perturbations, registered_metrics())
    } == {
        "validity": 0.0,
        "adversarial_accuracy": 1.0,
        "recovery_accuracy": 1.0,
    }


def _perturbation() -> Perturbation:
    row = torch.zeros(1, 2)
    return Perturbation(
        original=row,
        perturbed=row + 1,
        original_class=torch.tensor([0]),
        target=torch.tensor([1]),
        success=None,
        queries=0,
        _length=lambda: (row + 1).norm(dim=1),
        _surrogate_class=lambda rows: (rows[:, 0] > 0.5).long(),
    )
