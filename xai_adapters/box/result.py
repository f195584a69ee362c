"""The boxes that `InvariantBox` finds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Box:
    """The boxes that `InvariantBox.solve` found around n rows.

    Attributes:
        width: (n, ...) half the box's side in each feature, w of Problem 2.1, in [0, C], shaped
            like the rows, float32 or wider. Wide means irrelevant to the decision. For an
            asymmetric box it is the mean of the widths down and up, for a directed one the share
            of the way to the baseline, for a masked one the probability of the baseline.
        lower: (n, ...) the box's lower bound in each feature, within the data's range.
        upper: (n, ...) its upper bound.
        target: (n,) the class that the box keeps.
        n_steps: (n,) steps taken until the row stopped.
        converged: (n,) whether the row stopped because its objective no longer improved.
        objective: (n,) mean width minus the penalty, on fresh draws.
        violation_rate: (n,) share of fresh uniform draws from the box with another class. It is an
            estimate from `n_check_draws` draws, not a guarantee. 1 for a row whose target is not
            its class: no box around it keeps the target.
        history: (n, n_steps) the objective in each step, on that step's draws; NaN after the row
            stopped.
    """

    width: Tensor
    lower: Tensor
    upper: Tensor
    target: Tensor
    n_steps: Tensor
    converged: Tensor
    objective: Tensor
    violation_rate: Tensor
    history: Tensor

    def scores(self) -> Tensor:
        """Relevance (n, ...) of each feature: the row's largest width minus the feature's own.

        Ranks like the paper's -w, and is not negative, as consumers of attributions expect.
        """
        widest = self.width.flatten(1).amax(dim=1)
        return widest.view(-1, *(1,) * (self.width.ndim - 1)) - self.width
