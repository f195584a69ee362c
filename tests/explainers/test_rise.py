"""RISE on models of which one pixel is known to matter."""

import pytest
import torch
from one_pixel import FILL, IMAGES, TARGET, OnePixel, subject
from torch import Generator, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers import rise
from xai_adapters.registry import Subject


def test_rise_is_the_mean_of_masks_by_probability(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rise, "_N_MASKS", 100)
    model = OnePixel((4, 5))
    found = rise.rise(subject(model, IMAGES, seed=3)).explain(IMAGES, TARGET)
    generator = Generator().manual_seed(3)
    masks = [rise._masks(50, 9, 11, generator) for _ in range(2)]
    for row, target in enumerate(TARGET.tolist()):
        total, seen = torch.zeros(9, 11), torch.zeros(9, 11)
        for mask in torch.cat(masks)[:, 0]:
            hidden = IMAGES[row].clone()
            for channel in range(3):
                hidden[channel] = mask * IMAGES[row, channel] + (1 - mask) * FILL
            probability = model(hidden[None]).softmax(dim=1)[0, target]
            total, seen = total + probability * mask, seen + mask
        for channel in range(3):
            assert torch.allclose(found[row, channel], total / seen, atol=1e-5)


def test_rise_finds_the_pixel_that_matters_for_and_against():
    found = rise.rise(subject(OnePixel((4, 5)), IMAGES)).explain(IMAGES, TARGET)
    best, worst = found[:, 0].flatten(1).argmax(dim=1), found[:, 0].flatten(1).argmin(dim=1)
    assert (best[0].item(), worst[1].item()) == (4 * 11 + 5, 4 * 11 + 5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (14, 15), (28, 28), (33, 100)])
def test_masks_cover_the_image_evenly(height: int, width: int):
    masks = rise._masks(3000, height, width, Generator().manual_seed(0))
    assert masks.shape == (3000, 1, height, width)
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert (masks.mean(dim=0) - 0.5).abs().max() < 0.05


def test_images_alone_are_masked():
    table = Subject(nn.Linear(3, 2), torch.zeros(4, 3), "tabular", None)
    with pytest.raises(NotApplicableError, match="tables do not have"):
        rise.rise(table)
