"""Square patches of an image, for methods that cannot ask about every pixel."""

from __future__ import annotations

import torch
from torch import Tensor


def patches(image: Tensor, at_most: int) -> Tensor:
    """Number the pixels of an image by patch, with the smallest square patches allowed.

    Args:
        image: (channels, height, width); the channels of a pixel share its number.
        at_most: how many patches there may be.

    Returns:
        (channels, height, width) integers from 0.

    Example:
        >>> patches(torch.zeros(3, 28, 28), at_most=200).unique().numel()
        196
    """
    channels, height, width = image.shape
    side = 1
    while -(-height // side) * -(-width // side) > at_most:
        side += 1
    down = torch.arange(height, device=image.device) // side
    across = torch.arange(width, device=image.device) // side
    numbers = down[:, None] * (int(across[-1]) + 1) + across
    return numbers.repeat(channels, 1, 1)  # contiguous, as ShapleyValueSampling wants it
