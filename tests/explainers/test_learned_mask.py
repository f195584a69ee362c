"""The learned mask on models of which one pixel is known to matter."""

import pytest
import torch
from one_pixel import IMAGES, TARGET, OnePixel, subject
from torch import nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers.learned_mask import learned_mask
from xai_adapters.registry import Subject


def test_a_learned_mask_shows_the_pixel_that_matters_and_no_other():
    explain = learned_mask(subject(OnePixel((4, 5)), IMAGES)).explain
    found = explain(IMAGES, torch.tensor([1, 1]))
    assert torch.equal(found[:, 0], found[:, 2])
    assert (found[:, 0, 4, 5] > 0.5).all()
    assert (found[:, 0].mean(dim=(1, 2)) < 0.3).all()
    # For the other class the pixel must stay hidden, and then there is nothing to show.
    against = explain(IMAGES, torch.tensor([0, 0]))
    assert against.max() < 0.05


def test_a_learned_mask_does_not_depend_on_the_batch():
    explain = learned_mask(subject(OnePixel((4, 5)), IMAGES)).explain
    together = explain(IMAGES, TARGET)
    alone = explain(IMAGES[1:], TARGET[1:])
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_images_alone_are_masked():
    table = Subject(nn.Linear(3, 2), torch.zeros(4, 3), "tabular", None)
    with pytest.raises(NotApplicableError, match="tables do not have"):
        learned_mask(table)
