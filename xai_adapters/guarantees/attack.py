"""Projected gradient attacks: a search for a point of a box with another class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from xai_adapters.guarantees.scaled_box import check_box
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import check_whole_number, named_options


@dataclass(frozen=True)
class Attack:
    """What `attack_box` found in n boxes.

    Attributes:
        violated: (n,) whether a point with another class than the target was found. `point` proves
            it; False only means that these steps found none.
        point: (n, ...) the point of each box with the lowest margin found.
        margin: (n,) the target's score minus the highest other score at that point; negative where
            `violated`.
        target: (n,) the class to keep.
    """

    violated: Tensor
    point: Tensor
    margin: Tensor
    target: Tensor


@named_options()
def attack_box(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    lower: Tensor,
    upper: Tensor,
    target: Tensor | int | None = None,
    *,
    n_restarts: int = 10,
    n_steps: int = 20,
    output_type: OutputType = "auto",
    threshold: float | None = None,
    internal_batch_size: int | None = None,
    seed: int = 0,
) -> Attack:
    """Search each box for a point with another class: projected gradient descent with restarts.

    Steps follow the sign of the gradient and shrink linearly from the full side of the box to zero,
    so that the first one reaches the worst corner of a linear model (Madry et al. 2018, with a box
    in place of their ball). The first start is the row itself; the others alternate between random
    points and random corners. Each start aims at one rival class, beginning with the strongest at
    the row. All rows share the random starts, and violated rows drop out, so a row's result does
    not depend on its neighbours or on the batch size.

    Args:
        model: differentiable; returns (m, K) class outputs, or (m, 1) or (m,) numbers, for
            (m, ...) rows.
        x: (n, ...) rows.
        lower: (n, ...) lower bounds of the boxes, in the dtype of `x`.
        upper: (n, ...) upper bounds.
        target: (n,) the class to keep, or one for all; by default the model's class at `x`.
        n_restarts: starts per row.
        n_steps: gradient steps per start.
        output_type: what the model returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: for a model with one output, the value that separates its two classes.
        internal_batch_size: rows in one call of the model; it bounds memory and does not change the
            result.
        seed: of the random starts.

    Raises:
        InvalidInputError: for boxes that do not contain their rows, or a bad target or option.
        PredictorError: if the model has no gradient, returns NaN at a row, or not one row of
            outputs for each row.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0] + x[:, 1], 0 * x[:, 0]), dim=1)
        >>> x = torch.tensor([[1.0, 1.0]])
        >>> attack_box(model, x, x - 0.9, x + 0.9).violated.tolist()
        [False]
        >>> found = attack_box(model, x, x - 1.1, x + 1.1)
        >>> found.violated.tolist(), found.point.gt(-0.2).all().item()
        ([True], True)
    """
    check_whole_number("n_restarts", n_restarts, at_least=1)
    check_whole_number("n_steps", n_steps, at_least=1)
    x = x.detach()
    check_box(x, lower, upper)
    with left_as_found(model, x.device):
        decision = Decision(
            model,
            x,
            target,
            output_type=output_type,
            threshold=threshold,
            batch_size=internal_batch_size,
        )
        starts = _starts(x, n_restarts, seed)
        found = [
            _attack(decision, rows, x[rows], lower[rows], upper[rows], starts, n_steps)
            for rows in torch.arange(len(x), device=x.device).split(internal_batch_size or len(x))
        ]
    point, margin = (torch.cat(parts) for parts in zip(*found, strict=True))
    # Not "margin < 0": NaN counts as a violation too.
    return Attack(~(margin >= 0), point, margin, decision.target)


def _starts(x: Tensor, n_restarts: int, seed: int) -> Tensor:
    """Points (n_restarts - 1, ...) of the unit box: alternately random points and random corners.

    Every other corner is opposite to the previous one.
    """
    generator = Generator(x.device).manual_seed(seed)
    places = torch.empty(n_restarts - 1, *x.shape[1:], dtype=x.dtype, device=x.device)
    places.uniform_(generator=generator)
    places[1::2].round_()
    opposite = places[3::4]
    opposite.copy_(1 - places[1::4][: len(opposite)])
    return places


def _attack(
    decision: Decision,
    rows: Tensor,
    x: Tensor,
    lower: Tensor,
    upper: Tensor,
    starts: Tensor,
    n_steps: int,
) -> tuple[Tensor, Tensor]:
    """The points (a, ...) with the lowest margins (a,) found in the boxes of `rows`."""
    point = x.clone()
    margin = x.new_full((len(x),), torch.inf)
    rivals = decision.rivals(rows, len(starts) + 1)
    for number in range(len(starts) + 1):
        left = (margin >= 0).nonzero()[:, 0]
        if len(left) == 0:
            break
        low, high = lower[left], upper[left]
        points = x[left] if number == 0 else low + starts[number - 1] * (high - low)
        own = decision.target[rows[left], None]
        rival = rivals[left, number % rivals.shape[1], None]
        for step in range(n_steps + 1):
            points = torch.minimum(torch.maximum(points, low), high)
            with torch.enable_grad():
                points.requires_grad_()
                scores = decision.scores(points, rows[left])
                gap = scores.gather(1, own) - scores.gather(1, rival)
            slope = input_gradient(gap, points, "an attack follows; sampling needs none")
            points = points.detach()
            lead = decision.lead(scores.detach(), rows[left]).to(margin)
            # NaN is worse than any number, as it counts as a violation.
            worse = (lead < margin[left]) | (lead.isnan() & ~margin[left].isnan())
            point[left[worse]], margin[left[worse]] = points[worse], lead[worse]
            size = (1 - step / n_steps) * (high - low)
            points = points - size * slope.nan_to_num(0, 0, 0).sign()
    return point, margin
