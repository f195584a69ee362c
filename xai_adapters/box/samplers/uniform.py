"""Uniform sampling, as in the paper."""

from __future__ import annotations

from xai_adapters.box.expected_hinge import Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.random_numbers import uniform_numbers


class UniformSampler(Sampler):
    """Points anywhere in the box, at draws that all rows share."""

    name = "uniform"
    covers_box = True

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        super().__init__(hinge, largest, n, seed)
        self._uniform = uniform_numbers(largest.x, seed)

    def sample(self, boxes: Boxes, done: float) -> Samples:
        """New uniform samples."""
        return Samples(boxes, self._uniform(self._n, *boxes.x.shape[1:]))
