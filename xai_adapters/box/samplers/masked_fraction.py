"""Corners with from none to all of the features at their far ends, as a growing mask makes them."""

from __future__ import annotations

from xai_adapters.box.expected_hinge import Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.random_numbers import growing_masks, uniform_numbers


class MaskedFractionSampler(Sampler):
    """Corners of the box; the fractions of features at their far ends are spread over [0, 1].

    In images a pixel moves with all its channels. Uniform samples hardly ever move many features at
    once. All rows share the draws.
    """

    name = "masked_fraction"
    # All masks of a masked box would be the same: it has corners only.
    shapes = ("symmetric", "asymmetric", "directed")

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        super().__init__(hinge, largest, n, seed)
        self._uniform = uniform_numbers(largest.x, seed)

    def sample(self, boxes: Boxes, done: float) -> Samples:
        """Corners at new masks."""
        masks = growing_masks(self._n, boxes.x.shape[1:], self._uniform)
        return Samples(boxes, masks.to(boxes.x.dtype))
