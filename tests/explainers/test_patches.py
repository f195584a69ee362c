"""Images in square patches."""

import pytest
import torch

from xai_adapters.explainers.patches import patches


@pytest.mark.parametrize(("side", "at_most"), [(8, 64), (8, 63), (28, 200), (5, 4), (7, 1)])
def test_patches_are_square_and_as_small_as_allowed(side: int, at_most: int):
    numbers = patches(torch.zeros(2, side, side), at_most)
    assert torch.equal(numbers[0], numbers[1])
    found = numbers[0].unique()
    assert torch.equal(found, torch.arange(len(found)))
    edge = int((numbers[0, 0] == 0).sum())
    assert len(found) == (-(-side // edge)) ** 2 <= at_most
    assert edge == 1 or (-(-side // (edge - 1))) ** 2 > at_most
