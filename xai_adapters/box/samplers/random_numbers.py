"""Random numbers that rows share, so that a row's result does not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Size, Tensor


def uniform_numbers(like: Tensor, seed: int) -> Callable[..., Tensor]:
    """A function that gives new numbers from [0, 1) of a shape, on the device of `like`."""
    generator = Generator(like.device).manual_seed(seed)
    return lambda *shape: like.new_empty(shape).uniform_(generator=generator)


def from_each_part(n: int, k: int, uniform: Callable[..., Tensor]) -> Tensor:
    """(n, k) numbers; in each column there is one from each of n equal parts of [0, 1].

    Example:
        >>> import torch
        >>> numbers = from_each_part(4, 2, uniform_numbers(torch.zeros(0), seed=0))
        >>> (4 * numbers).floor().sort(dim=0).values.T.tolist()
        [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]
    """
    return (uniform(n, k).argsort(dim=0) + uniform(n, k)) / n


def growing_masks(n: int, shape: Size, uniform: Callable[..., Tensor]) -> Tensor:
    """(n, ...) masks of rows of that shape that hide from none to all of the features.

    The shares hidden are one from each of n equal parts of [0, 1]. Rows (channels, height, width),
    or with one dimension more, are images: a pixel is hidden in all its channels.
    """
    places = (1, *shape[1:]) if is_image(shape) else shape
    share = from_each_part(n, 1, uniform).view(-1, *(1,) * len(shape))
    return (uniform(n, *places) < share).expand(n, *shape)


def is_image(shape: Size) -> bool:
    """Whether the first dimension of rows of that shape is channels."""
    return len(shape) > 2
