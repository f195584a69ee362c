"""Draws that lean towards where a box leaves its class, weighted so that means stay the same."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from xai_adapters.box.draws import uniform_numbers
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Estimate, ExpectedHinge
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient

# So many classes have draws of their own that lean towards them.
_MOST_CLASSES = 3
# So many draws lean for each that is uniform.
_TILTED = 7
# How far a tilted draw leans, in standard deviations of what a linear model makes of uniform ones.
_LEAN = 1.7
# Of the way to a point of the largest box: there the first slopes are taken, as a row may lie on a
# kink, where a network's slope depends on how it is written and need not be that of either side.
_NEAR = 0.01
# Draws turn once in so many steps: around a small network a turn takes as long as its draws.
_STEPS_A_TURN = 4
# What a direction keeps of itself in a turn.
_MEMORY = 0.8
# Over the number of draws, by how much steps take the hinge's derivative for more than it is. Its
# noise makes widths wander, the more the fewer the draws, and as the hinge bends upwards those that
# are too large cost more than those that are too small gain.
_CAUTION = 6.0
# Of a feature's exponent: beyond the first nearly all draws are at one end, and at 0 the density's
# inverse is 0 / 0; of a power of two no rounding adds up over many features.
_MOST, _LEAST = 10.0, 2.0**-20


class TiltedDraws:
    """Importance sampling of the points that leave the class (Owen and Zhou 2000).

    Of uniform draws from a good box hardly one in a hundred leaves the class, and only those tell
    anything. Here one draw in eight is uniform and the others lean each towards one of the three
    likeliest other classes: their density in feature i is proportional to exp(a_i u_i), with a
    along the slope of that class's lead over the target, times the box's side. A draw counts 1 / q
    for the density q of the mixture, so that weighted means are those of uniform draws, and none
    counts more than eight times what it would among uniform ones. Slopes are first those beside
    the row; every few steps they turn to those of the points that have left the class since.

    Rows share the uniform numbers that their draws are made of, and nothing else.

    Args:
        hinge: of the boxes.
        largest: boxes of the rows, of the largest widths.
        n: M, draws of a row in each step.
        seed: of the draws.

    Attributes:
        part: (M,) the part of the mixture that each draw is of; part 0 is uniform, the others
            lean towards a class each.

    Raises:
        PredictorError: if the model has no gradient.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> x = torch.ones(1, 2)
        >>> boxes = Boxes(torch.tensor([0]), x, torch.full((1, 1, 2), 2.0))
        >>> tilted = TiltedDraws(ExpectedHinge(Decision(model, x)), boxes, n=1000, seed=0)
        >>> draws, weight = tilted.draw(boxes)
        >>> [round(u, 1) for u in draws.mean(dim=(0, 1)).tolist()]  # class 1 is where x_0 < 0
        [0.2, 0.5]
        >>> round((weight[..., None] * draws).sum(dim=1)[0, 0].item(), 1)
        0.5
    """

    def __init__(self, hinge: ExpectedHinge, largest: Boxes, n: int, seed: int) -> None:
        decision, rows, x = hinge.decision, largest.rows, largest.x
        rivals = decision.rivals(rows, _MOST_CLASSES)
        self._n, self._hinge = n, hinge
        self._uniform = uniform_numbers(x, seed)
        n_rivals = rivals.shape[1]
        one_round = [0, *(1 + m % n_rivals for m in range(_TILTED))]
        self._round = torch.tensor(one_round, device=x.device)
        self.part = self._round.repeat(math.ceil(n / len(one_round)))[:n]
        self._log_share = self.part.bincount(minlength=n_rivals + 1).to(x).log()[:, None]
        # The directions of the parts, and what their last draws found. Part 0 leans nowhere.
        self._found = x.new_zeros(2, len(rows), n_rivals + 1, x.shape[1:].numel())
        memory = x.new_tensor((_MEMORY, 1 - _MEMORY)).repeat(n_rivals + 1, 1)
        memory[0] = 0
        self._memory = memory.T[:, None, :, None]
        beside = largest.points(self._uniform(1, *x.shape[1:]))[:, 0]
        near = torch.lerp(x, beside, _NEAR).to(decision.x.dtype)
        blocks = torch.arange(len(rows), device=x.device).split(decision.batch_size or len(rows))
        for block in blocks if len(rows) else ():
            for part, rival in enumerate(rivals[block].unbind(dim=1), start=1):
                slope = _slope(decision, near[block], rows[block], rival)
                self._found[0, block, part] = slope.to(x.dtype)
        self._leaning, self._n_since = self._turned(largest), 0

    @property
    def pulls(self) -> Tensor:
        """The slopes (a, p, ...) of the hinge since the last turn, summed over each part."""
        pulls = self._found[1]
        return pulls.view(*pulls.shape[:2], *self._hinge.decision.x.shape[1:])

    def look(self, boxes: Boxes, slope: Tensor, done: float) -> Estimate:
        """Estimate the hinge of boxes and its derivative by widths (a, s, ...), the `slope`.

        The derivative is smoothed, and at the end of a search, `done` = 1, no more: its noise slows
        the first steps most, and where they end depends on its mean. It comes out 1 + 6 / M times
        as large: steps are cautious, the more so the fewer the draws.
        """
        draws, weight = self.draw(boxes)
        seen = self._hinge.estimate(
            boxes,
            draws,
            slope,
            weight=weight,
            pulls=self.pulls,
            part=self.part,
            smoothing=1 - done,
        )
        slope.mul_(1 + _CAUTION / self._n)
        return seen

    def draw(self, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """New draws (a, M, ...) for the rows' boxes, and their weights (a, M).

        The weights are about 1 / M on average; their sum varies.
        """
        if self._n_since == _STEPS_A_TURN:
            self._leaning, self._n_since = self._turned(boxes), 0
        self._n_since += 1
        tilt, shift = self._leaning
        n_rounds = math.ceil(self._n / len(self._round))
        shared = self._uniform(n_rounds, len(self._round), tilt.shape[2])
        # The inverse of the distribution function of each draw's part.
        of_draws = tilt.index_select(1, self._round)[:, None]
        draws = (shared * of_draws.expm1()).log1p_().div_(of_draws).clamp_(0, 1)
        draws = draws.flatten(1, 2)[:, : self._n]
        # The density of each part at each draw.
        density = torch.baddbmm(shift, tilt, draws.mT).exp_()
        weight = density.sum(dim=1).reciprocal_()
        return draws.unflatten(2, boxes.x.shape[1:]), weight

    def keep(self, kept: Tensor) -> None:
        """Drop the rows that are not among `kept` (a,)."""
        self._found = self._found[:, kept]
        self._leaning = tuple(of[kept] for of in self._leaning)

    def _turned(self, boxes: Boxes) -> tuple[Tensor, ...]:
        """The tilt (a, p, d) of each part, towards what was found, and its density at 0 (a, p, 1).

        Lengths are of draws, not in features' units. The density is a logarithm, and counts the
        part's draws.
        """
        reach = boxes.reach.flatten(1)[:, None]
        length = (self._found * reach).norm(dim=3, keepdim=True)
        # Where a box has no width yet or nothing was found, a slope has no length.
        share = self._memory / length.where(length > 0, 1)
        slopes, pulls = self._found.unbind()
        torch.sum(self._found * share, dim=0, out=slopes).nan_to_num_(0, 0, 0)
        pulls.zero_()
        # The standard deviation of one u_i is 1 / sqrt(12).
        tilt = normalize(slopes * reach, dim=2).mul_(_LEAN * 12**0.5).clamp_(-_MOST, _MOST)
        tilt = tilt.where(tilt.abs() > _LEAST, _LEAST)
        # Of many features the logarithms add up, in 64 bits.
        norm = (tilt.expm1() / tilt).log_().sum(dim=2, keepdim=True, dtype=torch.float64)
        return tilt, (self._log_share - norm).to(tilt.dtype)


def _slope(decision: Decision, points: Tensor, rows: Tensor, rival: Tensor) -> Tensor:
    """The direction (a, d) in which rivals (a,) gain on the target at points of the rows."""
    with torch.enable_grad():
        points = points.requires_grad_()
        scores = decision.scores(points, rows)
        lead = scores.gather(1, rival[:, None]) - scores.gather(1, decision.target[rows, None])
    slope = input_gradient(lead, points, "the search for a box follows; FIMAP needs none")
    return slope.nan_to_num(0, 0, 0).flatten(1)
