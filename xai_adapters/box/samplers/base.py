"""What a search asks of a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from xai_adapters.box.expected_hinge import Evaluated, Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge


class Sampler(ABC):
    """Samples the boxes of the rows that are still searched, anew in each step.

    A new sampler is a subclass in a file of its own, which states the facts below and is listed in
    `samplers.SAMPLERS`.

    Args:
        hinge: of the boxes.
        largest: boxes of the rows, of the largest widths.
        n: M, samples of a box in each step.
        seed: of the random numbers.
    """

    #: What users call it.
    name: ClassVar[str]
    #: The shapes of boxes that it can sample.
    shapes: ClassVar[tuple[str, ...]] = ("symmetric", "asymmetric", "directed", "masked")
    #: Whether it needs the data's range.
    needs_bounds: ClassVar[bool] = False
    #: Whether its samples lie anywhere in a box. If then all of them violate the class, the box is
    #: too large, and the search shrinks it.
    covers_box: ClassVar[bool] = False

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        self._n = n

    @property
    def caution(self) -> float:
        """What steps multiply the derivative of the hinge by."""
        return 1.0

    @abstractmethod
    def sample(self, boxes: Boxes, done: float) -> Samples:
        """New samples of boxes, with the share `done` of the search's steps taken, in [0, 1)."""

    def learn(self, block: Evaluated) -> None:  # noqa: B027 - most learn nothing
        """Take note of how the hinge changes at samples."""

    def keep(self, kept: Tensor) -> None:  # noqa: B027 - most hold nothing of rows
        """Forget the rows that are not among `kept` (a,)."""
