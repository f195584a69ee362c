"""Modules in half and double precision are asked in theirs, whatever the rows are in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xai_adapters import BlackBox, InvariantBox, MinimalPerturbation
from xai_adapters.guarantees import attack_box

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def network(dtype: torch.dtype) -> nn.Module:
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]])
    linear.bias.data.zero_()
    return linear.to(dtype)


@pytest.mark.parametrize("rows", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_module_is_asked_in_its_own_precision(weights: torch.dtype, rows: torch.dtype) -> None:
    x, model = ROWS.to(rows), network(weights)
    expected = (x @ torch.tensor([1.0, -2.0, 0.5]).to(rows) > 0).long()
    sure = (x @ torch.tensor([1.0, -2.0, 0.5]).to(rows)).abs() > 0.05
    assert torch.equal(BlackBox(model).labels(x)[sure], expected[sure])
    box = InvariantBox(n_steps=5).solve(model, x)
    assert torch.equal(box.target[sure], expected[sure])
    assert (box.width.dtype, box.lower.dtype) == (rows, rows)
    assert attack_box(model, x, x - 3, x + 3, n_steps=5).violated[sure].all()
    found = MinimalPerturbation(epochs=2, query_rounds=1).fit(x, model).perturb(x)
    assert found.perturbed.dtype == rows
