"""Max-sensitivity of explainers that are known."""

from __future__ import annotations

import pytest
import torch
from attribution_cases import attributions, table

from xai_adapters.benchmark.metrics.sensitivity import MaxSensitivity


def test_sensitivity_is_of_the_explainer() -> None:
    pytest.importorskip("captum")
    task = table()
    still = attributions(task, task.rows, explain=lambda rows, classes: torch.ones_like(rows))
    assert MaxSensitivity().compute(still).max() == 0
    moving = attributions(task, task.rows, explain=lambda rows, classes: rows)
    found = MaxSensitivity().compute(moving)
    span = task.background.amax(dim=0) - task.background.amin(dim=0)
    assert (found > 0).all()
    assert (found * task.rows.norm(dim=1) <= 0.02 * span.norm() + 1e-6).all()
