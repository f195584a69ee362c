"""Points that move towards one level of the data's range, as an image that fades to one colour."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from xai_adapters.box.expected_hinge import Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.random_numbers import (
    from_each_part,
    growing_masks,
    is_image,
    uniform_numbers,
)


class FadeToColourSampler(Sampler):
    """Points of a symmetric box that some of the features reach by moving towards one level.

    Independent draws of thousands of features hardly ever move many of them in one direction, which
    is what a mask does. Here a sample has a level, between the lower and the upper end of the
    data's range, and a fraction of the features, from none to all, that move towards it. They go as
    far as a feature's width w is a share of its largest width C,

        x + w / C * (level - x),

    while the others stay at x. A box that keeps its class there keeps it behind masks of any one
    colour, but not in noise: uniform samples of it may all leave the class. In images, rows
    (channels, height, width), each channel has its own level and a pixel's channels move together.
    Fractions and levels are one from each of n equal parts of [0, 1], so that every step sees all.

    Rows share the random numbers, and nothing else. A level farther away than C is approached only
    so far.
    """

    name = "fade_to_colour"
    shapes = ("symmetric",)
    needs_bounds = True

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        super().__init__(hinge, largest, n, seed)
        self._largest, self._uniform = largest, uniform_numbers(largest.x, seed)

    def sample(self, boxes: Boxes, done: float) -> Samples:
        """Samples with new levels."""
        largest = self._largest
        fading = FadingBoxes(boxes.rows, boxes.x, boxes.width, largest=largest.width)
        x, shape = largest.x[:, None], largest.x.shape[1:]
        lower, upper = (
            x if limit is None else limit[:, None]
            for limit in (largest.range_lower, largest.range_upper)
        )
        level = from_each_part(self._n, shape[0] if is_image(shape) else 1, self._uniform)
        end = torch.lerp(lower, upper, level.view(*level.shape, *(1,) * (len(shape) - 1)))
        end = end.clamp(largest.lower[:, None], largest.upper[:, None])
        moves = growing_masks(self._n, shape, self._uniform)
        return Samples(fading, torch.where(moves, end, x))

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows."""
        self._largest = self._largest.take(kept)


@dataclass(frozen=True, eq=False)
class FadingBoxes(Boxes):
    """Symmetric boxes whose draws are places, not shares: points go the share w / C of the way.

    Args:
        largest: (a, 1, ...) C.
    """

    largest: Tensor = field(kw_only=True)

    def points(self, draws: Tensor) -> Tensor:
        """Points (a, m, ...) on the way to the places `draws` (a, m, ...)."""
        return torch.lerp(self.x[:, None], draws, self.width / self.largest)

    def derivative(self, gradient: Tensor, moment: Tensor) -> Tensor:
        """Each gradient times the whole way of its point, per unit of the largest width."""
        return (moment - gradient * self.x)[:, None] / self.largest
