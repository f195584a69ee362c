"""RISE and the learned mask on models of which one pixel, or one half, is known to matter."""

import pytest
import torch
from torch import Generator, Tensor, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers import learned_mask, rise
from xai_adapters.registry import Subject

FILL = 0.25


class OnePixel(nn.Module):
    """The class is 1 where one pixel is bright."""

    def __init__(self, at: tuple[int, int]) -> None:
        super().__init__()
        self.at = at

    def forward(self, images: Tensor) -> Tensor:
        bright = 8 * (images[:, 0, self.at[0], self.at[1]] - 0.5)
        return torch.stack((torch.zeros_like(bright), bright), dim=1)


def subject(model: nn.Module, images: Tensor, seed: int = 0) -> Subject:
    return Subject(model, images, "image", FILL, seed)


IMAGES = torch.rand(2, 3, 9, 11, generator=Generator().manual_seed(0)) / 4 + 0.7
TARGET = torch.tensor([1, 0])


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


def test_a_learned_mask_shows_the_pixel_that_matters_and_no_other():
    explain = learned_mask.learned_mask(subject(OnePixel((4, 5)), IMAGES)).explain
    found = explain(IMAGES, torch.tensor([1, 1]))
    assert torch.equal(found[:, 0], found[:, 2])
    assert (found[:, 0, 4, 5] > 0.5).all()
    assert (found[:, 0].mean(dim=(1, 2)) < 0.3).all()
    # For the other class the pixel must stay hidden, and then there is nothing to show.
    against = explain(IMAGES, torch.tensor([0, 0]))
    assert against.max() < 0.05


def test_a_learned_mask_does_not_depend_on_the_batch():
    explain = learned_mask.learned_mask(subject(OnePixel((4, 5)), IMAGES)).explain
    together = explain(IMAGES, TARGET)
    alone = explain(IMAGES[1:], TARGET[1:])
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_images_alone_are_masked():
    table = Subject(nn.Linear(3, 2), torch.zeros(4, 3), "tabular", None)
    for make in (rise.rise, learned_mask.learned_mask):
        with pytest.raises(NotApplicableError, match="tables do not have"):
            make(table)
