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


def test_a_module_that_scales_rows_itself_gets_all_their_precision() -> None:
    class Late(nn.Module):
        """Decides whether a time in seconds is late, and computes on in float32."""

        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seconds = (x[:, 0].double() - 1_700_000_300).float()
            return torch.stack((0 * seconds, self.slope * seconds), dim=1)

    times = torch.tensor([[1_700_000_299.0], [1_700_000_301.0]], dtype=torch.float64)
    assert BlackBox(Late()).labels(times).tolist() == [0, 1]
    assert InvariantBox(n_steps=2).solve(Late(), times).target.tolist() == [0, 1]
