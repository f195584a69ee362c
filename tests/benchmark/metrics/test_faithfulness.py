"""Faithfulness against a slow and plain second implementation."""

from __future__ import annotations

import benchmark_toys as toys
import numpy as np
import pytest
import torch
from attribution_cases import attributions, table

from xai_adapters.benchmark.metrics.faithfulness import Faithfulness


@pytest.mark.parametrize("kind", ["table", "image"])
def test_faithfulness_is_the_correlation_over_random_halves(kind: str) -> None:
    task = table() if kind == "table" else toys.task()
    scores = torch.rand(task.rows.shape, generator=torch.Generator().manual_seed(1))
    asked = attributions(task, scores)
    found = Faithfulness().compute(asked)
    absent_value = task.background.mean(dim=0) if kind == "table" else torch.tensor(0.5)
    d = task.rows[0].numel()
    order = torch.rand(50, d, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    for row, label, score, one in zip(task.rows, asked.classes, scores, found, strict=True):
        taken, lost = [], []
        for some in order:
            absent = (some < (d + 1) // 2).view(row.shape)
            taken.append(score[absent].sum().item())
            answers = [
                asked.black_box.probabilities(each[None])[0, label].item()
                for each in (row, torch.where(absent, absent_value, row))
            ]
            lost.append(answers[0] - answers[1])
        assert one.item() == pytest.approx(np.corrcoef(taken, lost)[0, 1], abs=1e-4)
