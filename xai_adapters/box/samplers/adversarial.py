"""Corners that in every step move to where they violate the class most."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.box.expected_hinge import Evaluated, Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.random_numbers import uniform_numbers


class AdversarialSampler(Sampler):
    """Corners of each row's box, each of which attacks for one of the other classes.

    The classes, likeliest first, take turns. In every step each corner moves to where the sign of
    its rival's gradient points. The hinge is the sum over classes of the mean over a class's
    corners: the worst case of Problem 2.1 where the model is linear.
    """

    name = "adversarial"
    # All masks of a masked box would be the same: it has corners only.
    shapes = ("symmetric", "asymmetric", "directed")

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        super().__init__(hinge, largest, n, seed)
        decision, rows = hinge.decision, largest.rows
        rivals = decision.rivals(rows, decision.n_classes - 1)
        n_rivals = min(n, rivals.shape[1])
        number = torch.arange(n, device=rows.device) % n_rivals
        count = n // n_rivals + (number < n % n_rivals)
        self._weight = (1 / count.to(largest.x.dtype)).expand(len(rows), -1)
        self._rivals = rivals[:, number]
        corners = uniform_numbers(largest.x, seed)(n, *largest.x.shape[1:]).round_()
        self._corners = corners.expand(len(rows), *corners.shape).clone()

    def sample(self, boxes: Boxes, done: float) -> Samples:
        """The corners, where the last step moved them."""
        return Samples(boxes, self._corners, self._weight, self._rivals)

    def learn(self, block: Evaluated) -> None:
        """Move the corners on."""
        gradient = block.gradient.view(block.draws.shape)
        corners = block.boxes.farthest_corner(gradient, block.draws)
        self._corners[block.rows, block.part] = corners

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows' corners."""
        self._corners, self._weight = self._corners[kept], self._weight[kept]
        self._rivals = self._rivals[kept]
