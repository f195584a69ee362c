from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.guarantees import scaled_box

NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(NUMBERS, NUMBERS, NUMBERS, st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2))
def test_smaller_boxes_lie_in_larger_ones_around_the_row(a, b, c, scales):
    lower, x, upper = (torch.tensor([[each]]) for each in sorted((a, b, c)))
    boxes = [scaled_box(x, lower, upper, torch.tensor([s])) for s in (0.0, *sorted(scales), 1.0)]
    assert boxes[0] == (x, x)
    assert boxes[-1] == (lower, upper)
    for (low, high), (lower_low, higher) in itertools.pairwise(boxes):
        assert lower_low <= low <= x <= high <= higher
    for s, (low, high) in zip(sorted(scales), boxes[1:-1], strict=True):
        for end, whole in ((low, lower), (high, upper)):
            wanted = x.double() + s * (whole.double() - x.double())
            assert torch.allclose(end.double(), wanted, rtol=1e-6, atol=0.2)
