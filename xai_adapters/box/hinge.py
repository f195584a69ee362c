"""How much a box leaves the class: the constraint of the maximal invariant perturbation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from xai_adapters.box.chosen_points import ChosenPoints
from xai_adapters.box.geometry import Boxes
from xai_adapters.errors import InvalidInputError
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient

HingeOn = Literal["probabilities", "logits"]
OverClasses = Literal["sum", "mean", "max"]

# The way back through a model costs about twice the way forth. While fewer points than this share
# violate, looking at all and then going both ways with those alone is the cheaper.
_FEW = 0.5
# Of so few numbers hardly any model has work that is worth a look.
_SMALL = 2_000


def check_hinge(on: str, over_classes: str) -> None:
    """Raise `InvalidInputError` unless these are a `HingeOn` and an `OverClasses`."""
    for name, value, known in (
        ("hinge_on", on, get_args(HingeOn)),
        ("over_classes", over_classes, get_args(OverClasses)),
    ):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; it is {value!r}")


@dataclass(frozen=True)
class Estimate:
    """What draws from the boxes of a rows showed.

    Attributes:
        hinge: (a,) its mean over the draws.
        n_violations: (a,) draws with a positive one, that is, with another class.
        n_draws: M, draws of each row.
    """

    hinge: Tensor
    n_violations: Tensor
    n_draws: int

    @property
    def violation_rate(self) -> Tensor:
        """(a,) share of the draws with another class."""
        return self.n_violations / self.n_draws


class _Look(NamedTuple):
    """What was seen of points.

    Attributes:
        excess: (k,) their hinges.
        at: (k,) the numbers of those that were looked at; None for all.
        pull: (k, ...) the gradients of the hinges; None where none was asked for.
        lost: (k,) where a gradient was not finite, and is 0; None where all were.
    """

    excess: Tensor
    at: Tensor | None = None
    pull: Tensor | None = None
    lost: Tensor | None = None


class ExpectedHinge:
    """The hinge of Proposition 3.1 around given rows, estimated from draws of their boxes.

    For a row of class c it is the mean over points p of the box of sum_{j != c}
    max(0, f_j(p) - f_c(p)). With f the class probabilities it lies in [0, 1] for any number of
    classes; with f the logits it grows with the distance to the decision, even where
    probabilities are flat.

    Args:
        decision: of the model at the rows, the centres of the boxes.
        on: what f is.
        over_classes: "sum" as above; its "mean" over all K classes, as in the authors' code; or
            the largest term alone, "max".

    Attributes:
        decision: as given.
        undefined: (n,) whether the model answered NaN somewhere, so far; it counts as a violation
            by 1.
        unsloped: (n,) whether a gradient that was needed was not finite, so far; it counts as 0.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> decision = Decision(model, torch.tensor([[1.0]]), output_type="logits")
        >>> hinge = ExpectedHinge(decision, on="logits")
        >>> width, slope = torch.tensor([[[2.0]]]), torch.zeros(1, 1, 1)
        >>> boxes = Boxes(torch.tensor([0]), torch.tensor([[1.0]]), width)
        >>> found = hinge.estimate(boxes, torch.tensor([[0.0], [1.0]]), slope)
        >>> found.hinge.item(), found.violation_rate.item(), slope.item()  # at x = -1 and x = 3
        (0.5, 0.5, 0.5)
    """

    def __init__(
        self,
        decision: Decision,
        *,
        on: HingeOn = "probabilities",
        over_classes: OverClasses = "sum",
    ) -> None:
        self.decision = decision
        self._scores = decision.scores if on == "logits" else decision.probabilities
        self._over_classes = over_classes
        every = torch.arange(len(decision.x), device=decision.x.device)
        self.undefined = torch.zeros_like(every, dtype=torch.bool)
        self.unsloped = self.undefined.clone()
        # The other classes, likeliest first.
        self._rivals = decision.rivals(every, decision.n_classes - 1)
        # To know which points violate the host has to wait for the device, which only a CPU does
        # for nothing.
        self._may_look_first = decision.x.device.type == "cpu"
        self._looks_first = self._may_look_first

    def attacks(self, rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """How n corners of each row's box attack it.

        They take turns with the other classes, likeliest first. The hinge is the sum over classes
        of the mean over a class's corners, or with "max" the mean over corners of the largest term.

        Returns:
            What each corner counts (a, n), and the class (a, n) that it attacks.
        """
        n_rivals = min(n, self._rivals.shape[1])
        number = torch.arange(n, device=rows.device) % n_rivals
        count = torch.full((n,), n, device=rows.device)
        if self._over_classes != "max":
            n_terms = self.decision.n_classes if self._over_classes == "mean" else 1
            count = (n // n_rivals + (number < n % n_rivals)) * n_terms
        dtype = torch.promote_types(self.decision.x.dtype, torch.float32)
        weight = (1 / count.to(dtype)).expand(len(rows), -1)
        return weight, self._rivals[rows][:, number]

    def estimate(
        self,
        boxes: Boxes,
        draws: Tensor,
        slope: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        pulls: Tensor | None = None,
        part: Tensor | None = None,
        rivals: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Estimate:
        """Estimate the hinge, and on the way its derivative.

        Args:
            boxes: a of them, of the decision's rows.
            draws: (M, ...) of u in [0, 1]^d, shared by the rows; or (a, M, ...), each its own.
            slope: if given, an (a, s, ...) tensor that is overwritten by the derivative of the
                mean hinge with respect to the boxes' widths.
            weight: (a, M) what each draw counts; by default 1 / M.
            pulls: if given with a slope, an (a, p, ...) tensor to which the weighted slopes with
                respect to the points are added, each to that of its part of the draws.
            part: (M,) the part that each draw is of, from 0 to p - 1.
            rivals: (a, M), as `attacks` gives: `draws` are corners of each row's box, each looks at
                its own class alone, and is overwritten by the corner that its slope points to.
            smoothing: by how much, from 0 to 1, draws that violate give way to their projections on
                the slope of the hinge, on a line through the box's centre. What stands at right
                angles to it is most of the derivative's noise, and where the hinge is linear it
                points either way alike (of uniform `draws`, or others that `weight` makes uniform,
                and exactly so if the slope is the same in all features). How the hinge changes as
                a box grows in proportion, with no end clipped, stays as it is.

        Raises:
            PredictorError: if a slope is wanted of a model that has no gradient, or the model does
                not return one row of outputs for each point.
        """
        shared = draws.ndim == self.decision.x.ndim
        n_draws = draws.shape[0 if shared else 1]
        dtype = boxes.width.dtype
        hinge = boxes.width.new_zeros(len(boxes.rows))
        violations, is_flat = torch.zeros_like(hinge), True
        if weight is None:
            weight = hinge.new_full((1, n_draws), 1 / n_draws).expand(len(boxes.rows), -1)
        if slope is not None:
            slope.zero_()
        blocks = self._blocks(len(boxes.rows), n_draws)
        for block, some in blocks:
            these = boxes if len(blocks) == 1 else boxes[block]
            u = draws[some] if shared else draws[block, some]
            placed = these.points(u)
            points = placed.flatten(0, 1).to(self.decision.x.dtype)
            owner = these.rows.repeat_interleave(placed.shape[1])
            rival = None if rivals is None else rivals[block, some].flatten()
            look = self._look if slope is None else self._look_and_pull
            excess, at, pull, lost = look(points, owner, rival)
            if len(excess) == 0:
                continue
            is_flat = False
            chosen = ChosenPoints(placed.shape[0], placed.shape[1], at)
            excess = excess.to(dtype)
            undefined = excess.isnan()
            if not self._may_look_first or undefined.any():
                self.undefined[these.rows] |= chosen.sums(undefined.to(dtype)) > 0
                excess = excess.nan_to_num(1.0)
            violates = excess > 0
            counts = violates * chosen.of_each(weight[block, some])
            hinge[block].add_(chosen.sums(excess * counts))
            violations[block].add_(chosen.sums(violates.to(dtype)))
            if slope is None or pull is None:
                continue
            pull = pull.to(dtype)
            if lost is not None:
                needed = lost & violates if rivals is None else lost
                self.unsloped[these.rows] |= chosen.sums(needed.to(dtype)) > 0
            counted = pull * counts.view(-1, *(1,) * (pull.ndim - 1))
            shares = chosen.of(u) if shared else chosen.of_each(u)
            if smoothing:
                rise = pull * chosen.of_rows(these.reach)
                shares = torch.lerp(shares, _projections(shares, rise), smoothing)
            moment = counted * shares
            slope[block].add_(these.slope(chosen.sums(counted), chosen.sums(moment)))
            if pulls is not None and part is not None:
                chosen.add(counted, part[some], pulls[block])
            if rivals is not None:
                draws[block, some] = these.corner(pull.view(placed.shape), u)
        if slope is not None and self._may_look_first:
            n_points = n_draws * len(boxes.rows)
            self._looks_first = is_flat or violations.sum().item() < _FEW * n_points
        return Estimate(hinge, violations, n_draws)

    def _blocks(self, n_rows: int, n_draws: int) -> list[tuple[slice, slice]]:
        """Rows and draws of what the model sees at once.

        Whole rows with all their draws while they fit, else some draws of one row.
        """
        batch_size = self.decision.batch_size or n_rows * n_draws
        return list(
            itertools.product(
                _slices(n_rows, max(1, batch_size // n_draws)),
                _slices(n_draws, min(n_draws, batch_size)),
            )
        )

    def _look(self, points: Tensor, owner: Tensor, rival: Tensor | None) -> _Look:
        """The hinge at points (m, ...) of the rows `owner` (m,)."""
        with torch.no_grad():
            return _Look(self._excess(points, owner, rival))

    def _look_and_pull(self, points: Tensor, owner: Tensor, rival: Tensor | None) -> _Look:
        """The hinge and its gradient; of points that lose their class alone, if that is cheaper.

        Where the class is kept the hinge is flat and there may be no need to go back.
        """
        if rival is not None or not self._looks_first or points.numel() < _SMALL:
            return self._both_ways(points, owner, rival)
        with torch.no_grad():
            at = (~self.decision.keeps(points, owner)).nonzero()[:, 0]
        if len(at) == 0:
            return _Look(points.new_empty(0), at)
        return self._both_ways(points[at], owner[at], None)._replace(at=at)

    def _both_ways(self, points: Tensor, owner: Tensor, rival: Tensor | None) -> _Look:
        with torch.enable_grad():
            points = points.requires_grad_()
            excess = self._excess(points, owner, rival)
        slope = input_gradient(excess, points, "the search for a box follows; FIMAP needs none")
        if self._may_look_first and math.isfinite(slope.sum()):
            return _Look(excess.detach(), pull=slope)
        lost = ~slope.isfinite().flatten(1).all(dim=1)
        # One bad number must not spoil the widths of all later steps.
        return _Look(excess.detach(), pull=slope.nan_to_num_(0, 0, 0), lost=lost)

    def _excess(self, points: Tensor, owner: Tensor, rival: Tensor | None) -> Tensor:
        """The hinge (m,), or the lead of a rival (m,), negative where the class is kept."""
        scores = self._scores(points, owner)
        target = self.decision.target[owner][:, None]
        if rival is not None and self._over_classes != "max":
            theirs, own = scores.gather(1, torch.cat((rival[:, None], target), dim=1)).unbind(dim=1)
            return theirs - own
        own = scores.gather(1, target)
        if rival is not None:
            return (scores.scatter(1, target, -torch.inf) - own).amax(dim=1)
        excess = (scores - own).relu()
        if self._over_classes == "max":
            return excess.amax(dim=1)
        return excess.sum(dim=1) if self._over_classes == "sum" else excess.mean(dim=1)


def _projections(draws: Tensor, rise: Tensor) -> Tensor:
    """Draws (k, ...) projected on lines along slopes (k, ...) through their centre, 1 / 2."""
    draws, along = draws.flatten(1), rise.flatten(1)
    # Where nothing rises the centre itself, as 0 / 0 is none.
    squares = along.square().sum(dim=1).clamp_(min=torch.finfo(along.dtype).tiny)
    share = ((draws - 0.5) * along).sum(dim=1) / squares
    return (along * share[:, None]).add_(0.5).view(rise.shape)


def _slices(n: int, at_most: int) -> list[slice]:
    """Slices of n, as equal as can be."""
    size = math.ceil(n / math.ceil(n / at_most)) if n else 1
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
