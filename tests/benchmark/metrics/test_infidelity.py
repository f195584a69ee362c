"""Whether true weights are told from wrong ones."""

from __future__ import annotations

import pytest
import torch
from attribution_cases import attributions, gradients, table

from xai_adapters.benchmark.metrics.faithfulness import Faithfulness
from xai_adapters.benchmark.metrics.infidelity import Infidelity


def test_the_true_weights_are_faithful_and_infallible() -> None:
    task = table()
    right = gradients(task)
    wrong = right.flip(1)
    away_from_mean = right * (task.rows - task.background.mean(dim=0))
    faithful = Faithfulness().compute(attributions(task, away_from_mean))
    assert faithful.min() > 0.999
    torch.manual_seed(0)
    pytest.importorskip("captum")
    assert Infidelity().compute(attributions(task, right)).max() < 1e-9
    assert Infidelity().compute(attributions(task, wrong)).min() > 1e-7
