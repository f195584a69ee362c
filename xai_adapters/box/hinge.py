"""The hinge of the maximal invariant perturbation: by how much points violate a class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient

HingeOn = Literal["probabilities", "logits"]

# With so few numbers evaluating first which points violate saves hardly anything.
_SMALL = 2_000


@dataclass(frozen=True)
class HingeValues:
    """The hinge at points, or at those of them that violate the target class.

    Attributes:
        values: (k,) the hinges; NaN where the model returns NaN.
        gradient: (k, ...) their gradients; where one is not finite, it is 0.
        not_finite: (k,) where a gradient was not finite; None where all are known to be finite.
        at: (k,) the numbers of the points; None for all. The hinge is 0 at the others.
    """

    values: Tensor
    gradient: Tensor | None = None
    not_finite: Tensor | None = None
    at: Tensor | None = None


class Hinge:
    """The hinge of Proposition 3.1 at points around given rows.

    For a row of class c it is, at a point p, sum_{j != c} max(0, f_j(p) - f_c(p)). With f the class
    probabilities it lies in [0, 1] for any number of classes; with f the logits it grows with the
    distance to the decision boundary, even where probabilities are flat. With rivals the value is
    instead the lead f_j(p) - f_c(p) of one class j, which is negative where c is ahead.

    Args:
        decision: of the model at the rows.
        on: what f is.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> decision = Decision(model, torch.tensor([[1.0]]), output_type="logits")
        >>> hinge, points = Hinge(decision, on="logits"), torch.tensor([[-1.0], [3.0]])
        >>> hinge.at(points, torch.tensor([0, 0])).values.tolist()
        [1.0, 0.0]
    """

    def __init__(self, decision: Decision, on: HingeOn = "probabilities") -> None:
        self.decision = decision
        self._scores = decision.scores if on == "logits" else decision.probabilities
        #: Whether looking at numbers costs no wait, as it does on an accelerator.
        self.reads_are_free = decision.x.device.type == "cpu"

    def at(self, points: Tensor, rows: Tensor, rivals: Tensor | None = None) -> HingeValues:
        """The hinge at points (m, ...) of rows (m,), or the lead of rivals (m,)."""
        with torch.no_grad():
            return HingeValues(self._values(points, rows, rivals))

    def with_gradient(
        self,
        points: Tensor,
        rows: Tensor,
        rivals: Tensor | None = None,
        *,
        forward_first: bool = False,
    ) -> HingeValues:
        """The hinge and its gradient at points (m, ...) of rows (m,).

        Args:
            points: where it is evaluated.
            rows: that the points belong to.
            rivals: (m,) the class whose lead is evaluated at each point.
            forward_first: evaluate all points in a forward pass, and go both ways with those alone
                that violate the class. This saves time where few do, as a backward pass costs
                about twice a forward pass.

        Raises:
            PredictorError: if the model has no gradient, or does not return one row of outputs for
                each point.
        """
        at = None
        if forward_first and rivals is None and points.numel() >= _SMALL:
            with torch.no_grad():
                at = (~self.decision.has_target_at(points, rows)).nonzero()[:, 0]
            if len(at) == 0:
                return HingeValues(points.new_empty(0), at=at)
            points, rows = points[at], rows[at]
        with torch.enable_grad():
            points = points.requires_grad_()
            values = self._values(points, rows, rivals)
        gradient = input_gradient(values, points, "the search for a box follows; FIMAP needs none")
        if self.reads_are_free and math.isfinite(gradient.sum()):
            return HingeValues(values.detach(), gradient, at=at)
        not_finite = ~gradient.isfinite().flatten(1).all(dim=1)
        # One bad number must not spoil the widths of all later steps.
        return HingeValues(values.detach(), gradient.nan_to_num_(0, 0, 0), not_finite, at)

    def _values(self, points: Tensor, rows: Tensor, rivals: Tensor | None) -> Tensor:
        scores, target = self._scores(points, rows), self.decision.target[rows][:, None]
        if rivals is None:
            return (scores - scores.gather(1, target)).relu().sum(dim=1)
        both = scores.gather(1, torch.cat((rivals[:, None], target), dim=1))
        return both[:, 0] - both[:, 1]
