"""The expected hinge of boxes and its derivative by their widths, estimated from samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from xai_adapters.box.chosen_points import ChosenPoints
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge

# While fewer points than this share violate, evaluating all forward first is the cheaper way.
_FEW = 0.5


@dataclass(frozen=True, eq=False)
class Samples:
    """M points of each of a boxes, and how they count.

    Attributes:
        boxes: that the points are of.
        draws: (M, ...) in [0, 1]^d, shared by the boxes, or (a, M, ...), each box its own.
        weight: (a, M) of each point in the mean; by default 1 / M.
        rivals: (a, M) classes. If given, each point tells of its rival's lead alone.
        smoothing: by how much, from 0 to 1, draws that violate the class are moved to their
            projections on the gradient of the hinge, on a line through the box's centre. What
            stands at right angles to it is most of the derivative's noise, and where the hinge is
            linear its mean is 0 (for uniform `draws`, or others that `weight` makes uniform, and
            exactly so if the gradient is the same in all features). How the hinge changes as a box
            grows in proportion, with no bound clipped, stays the same.
    """

    boxes: Boxes
    draws: Tensor
    weight: Tensor | None = None
    rivals: Tensor | None = None
    smoothing: float = 0.0

    @property
    def are_shared(self) -> bool:
        """Whether the boxes share the draws."""
        return self.draws.ndim == self.boxes.x.ndim

    @property
    def n_draws(self) -> int:
        """M."""
        return self.draws.shape[0 if self.are_shared else 1]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A block of samples at which the hinge was evaluated, for samplers that learn from it.

    Attributes:
        rows: place of its boxes among all.
        part: place of its draws among the M.
        boxes: b of them.
        draws: (m, ...) or (b, m, ...).
        chosen: which k of the b * m points these are.
        gradient: (k, ...) of the hinge at each point.
        counted: (k, ...) the same, weighted, and 0 at points that do not violate the class.
    """

    rows: slice
    part: slice
    boxes: Boxes
    draws: Tensor
    chosen: ChosenPoints
    gradient: Tensor
    counted: Tensor


@dataclass(frozen=True, eq=False)
class Estimate:
    """What samples of a boxes show.

    Attributes:
        hinge: (a,) its mean.
        n_violations: (a,) samples with another class.
        n_draws: M, samples of each box.
        derivative: (a, s, ...) of the mean hinge by the widths; zeros unless asked for.
        undefined: (a,) whether the model returned NaN somewhere, which counts as a violation by 1;
            None if it is known that it did not.
        no_gradient: (a,) whether a gradient was needed that was not finite, and counts as 0; None
            if it is known that none was.
    """

    hinge: Tensor
    n_violations: Tensor
    n_draws: int
    derivative: Tensor
    undefined: Tensor | None = None
    no_gradient: Tensor | None = None

    @property
    def violation_rate(self) -> Tensor:
        """(a,) share of the samples with another class."""
        return self.n_violations / self.n_draws

    @property
    def few_violate(self) -> bool:
        """Whether a step like this one is cheaper with a forward pass first."""
        n_points = self.n_draws * len(self.hinge)
        return self.n_violations.sum().item() < _FEW * n_points


def estimate(
    hinge: Hinge,
    samples: Samples,
    *,
    derivative: bool = True,
    forward_first: bool = False,
    learn: Callable[[Evaluated], None] | None = None,
) -> Estimate:
    """Estimate the expected hinge of boxes.

    Args:
        hinge: of the model around the boxes' rows.
        samples: of the boxes.
        derivative: whether to find the derivative by the widths too.
        forward_first: as in `Hinge.with_gradient`; it does not change the result.
        learn: called with each block of points whose gradients were found.

    Raises:
        PredictorError: if the derivative is asked of a model that has no gradient, or the model
            does not return one row of outputs for each point.

    Example:
        >>> from xai_adapters.model.decision import Decision
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> decision = Decision(model, torch.tensor([[1.0]]), output_type="logits")
        >>> boxes = Boxes(torch.tensor([0]), torch.tensor([[1.0]]), torch.tensor([[[2.0]]]))
        >>> samples = Samples(boxes, torch.tensor([[0.0], [1.0]]))  # at x = -1 and x = 3
        >>> found = estimate(Hinge(decision, on="logits"), samples)
        >>> found.hinge.item(), found.violation_rate.item(), found.derivative.item()
        (0.5, 0.5, 0.5)
    """
    boxes, draws, shared = samples.boxes, samples.draws, samples.are_shared
    n_rows, n_draws, dtype = len(boxes.rows), samples.n_draws, boxes.width.dtype
    mean = boxes.width.new_zeros(n_rows)
    violations, slope = torch.zeros_like(mean), torch.zeros_like(boxes.width)
    undefined = no_gradient = None
    weight, rivals = samples.weight, samples.rivals
    if weight is None:
        weight = mean.new_full((1, n_draws), 1 / n_draws).expand(n_rows, -1)
    for rows, part in _blocks(n_rows, n_draws, hinge.decision.batch_size):
        these = boxes if rows == slice(0, n_rows) else boxes.take(rows)
        u = draws[part] if shared else draws[rows, part]
        placed = these.points(u)
        points = placed.flatten(0, 1).to(hinge.decision.x.dtype)
        owner = these.rows.repeat_interleave(placed.shape[1])
        rival = None if rivals is None else rivals[rows, part].flatten()
        if derivative:
            seen = hinge.with_gradient(points, owner, rival, forward_first=forward_first)
        else:
            seen = hinge.at(points, owner, rival)
        if len(seen.values) == 0:
            continue
        chosen = ChosenPoints(placed.shape[0], placed.shape[1], seen.at)
        values = seen.values.to(dtype)
        is_nan = values.isnan()
        if not hinge.reads_are_free or is_nan.any():
            undefined = _noted(undefined, rows, chosen.sums(is_nan.to(dtype)) > 0, n_rows)
            values = values.nan_to_num(1.0)
        violates = values > 0
        counts = violates * chosen.of_each(weight[rows, part])
        mean[rows].add_(chosen.sums(values * counts))
        violations[rows].add_(chosen.sums(violates.to(dtype)))
        if seen.gradient is None:
            continue
        if seen.not_finite is not None:
            needed = seen.not_finite & violates if rivals is None else seen.not_finite
            no_gradient = _noted(no_gradient, rows, chosen.sums(needed.to(dtype)) > 0, n_rows)
        gradient = seen.gradient.to(dtype)
        counted = gradient * counts.view(-1, *(1,) * (gradient.ndim - 1))
        shares = chosen.of(u) if shared else chosen.of_each(u)
        if samples.smoothing:
            rise = gradient * chosen.of_rows(these.reach)
            shares = torch.lerp(shares, _projections(shares, rise), samples.smoothing)
        slope[rows].add_(these.derivative(chosen.sums(counted), chosen.sums(counted * shares)))
        if learn is not None:
            learn(Evaluated(rows, part, these, u, chosen, gradient, counted))
    return Estimate(mean, violations, n_draws, slope, undefined, no_gradient)


def _noted(flags: Tensor | None, rows: slice, more: Tensor, n_rows: int) -> Tensor:
    """Flags (n_rows,) with those of some rows added."""
    flags = more.new_zeros(n_rows) if flags is None else flags
    flags[rows] |= more
    return flags


def _projections(draws: Tensor, rise: Tensor) -> Tensor:
    """Draws (k, ...) projected on lines along gradients (k, ...) through their centre, 1 / 2."""
    draws, along = draws.flatten(1), rise.flatten(1)
    # Where nothing rises the centre itself, as 0 / 0 is none.
    squares = along.square().sum(dim=1).clamp_(min=torch.finfo(along.dtype).tiny)
    share = ((draws - 0.5) * along).sum(dim=1) / squares
    return (along * share[:, None]).add_(0.5).view(rise.shape)


def _blocks(n_rows: int, n_draws: int, batch_size: int | None) -> Iterator[tuple[slice, slice]]:
    """Rows and draws of the points that the model sees at once.

    Whole rows with all their draws while they fit, else some draws of one row.
    """
    size = batch_size or n_rows * n_draws
    return itertools.product(
        _slices(n_rows, max(1, size // n_draws)), _slices(n_draws, min(n_draws, size))
    )


def _slices(n: int, at_most: int) -> list[slice]:
    """Slices of n, as equal as can be."""
    size = math.ceil(n / math.ceil(n / at_most)) if n else 1
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
