"""How far explainers agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xai_adapters.benchmark.metrics.agreement import agreements


def test_agreement_is_of_every_two_on_the_rows_they_share() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    second = torch.tensor([[2.0, 0.0], [0.0, -1.0]])
    _, cosines = agreements({"a": first, "b": second}, {"a": first, "b": second})
    assert cosines.names == ["a", "b"]
    assert np.array(cosines.values) == pytest.approx(np.array([[1, 0], [0, 1]]))
    assert agreements({"a": first}, {"a": first}) == []
