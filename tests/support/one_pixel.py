"""Models of which one pixel is known to matter."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from xai_adapters.registry import Subject

FILL = 0.25
IMAGES = torch.rand(2, 3, 9, 11, generator=Generator().manual_seed(0)) / 4 + 0.7
TARGET = torch.tensor([1, 0])


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
