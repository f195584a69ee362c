"""What FIMAP returns: perturbations, and how certain decisions are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class Perturbation:
    """The result of `MinimalPerturbation.perturb`, in the user's units; n rows of d columns.

    Attributes:
        original: (n, d), the rows as they were given.
        perturbed: (n, d), the changed rows; they keep every constraint of the schema.
        original_class: (n,) the class each row was to leave.
        target: (n,) the class each row was to reach.
        success: (n,) whether the black box confirmed the change: the class was left and, where a
            target was given, reached. None if the black box was not queried.
        queries: number of rows the black box was queried for.
    """

    original: Tensor
    perturbed: Tensor
    original_class: Tensor
    target: Tensor
    success: Tensor | None
    queries: int
    # They belong to the networks that were fitted then, whatever the explainer is fitted to later.
    _length: Callable[[], Tensor] = field(repr=False)
    _surrogate_class: Callable[[Tensor], Tensor] = field(repr=False)

    @cached_property
    def perturbation(self) -> Tensor:
        """(n, d), the change of each row."""
        return self.perturbed - self.original

    @cached_property
    def length(self) -> Tensor:
        """(n,) length of each change in the schema's metric; computed when first read.

        The norm of the continuous changes in standard units times their costs, plus the cost of
        each changed category.
        """
        return self._length().to(self.original.dtype)

    @cached_property
    def class_before(self) -> Tensor:
        """(n,) the surrogate's class of each original row; computed when first read."""
        return self._surrogate_class(self.original)

    @cached_property
    def class_after(self) -> Tensor:
        """(n,) the surrogate's class of each perturbed row; computed when first read."""
        return self._surrogate_class(self.perturbed)


@dataclass(frozen=True)
class Certainty:
    """How far rows are from another decision.

    Attributes:
        length: (n,) length of each row's shortest perturbation in the schema's metric.
        rank: (n,) share of the fitted rows whose shortest perturbation is shorter, in [0, 1]; near
            0 the row is close to the decision boundary.
    """

    length: Tensor
    rank: Tensor
