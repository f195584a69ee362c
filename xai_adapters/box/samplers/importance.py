"""Importance sampling of the points that violate the class; weighted means stay the same."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from xai_adapters.box.expected_hinge import Evaluated, Samples
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.random_numbers import uniform_numbers
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient

# The most other classes that have tilted samples of their own.
_MOST_CLASSES = 3
# Tilted samples for each uniform one.
_TILTED = 7
# How far a sample is tilted, in standard deviations of a linear model's output at uniform samples.
_TILT = 1.7
# Of the way to a point of the largest box: there the first gradients are taken, as a row may lie on
# a kink, where a network's gradient depends on how it is written and need not be that of either
# side.
_NEAR = 0.01
# Directions turn once in so many steps: around a small network a turn takes as long as its samples.
_STEPS_A_TURN = 4
# How much of itself a direction keeps in a turn.
_MEMORY = 0.8
# Divided by the number of samples, by how much steps exaggerate the hinge's derivative. Its noise
# makes widths wander, more so with fewer samples, and as the hinge is convex, widths that are too
# large cost more than those that are too small gain.
_CAUTION = 6.0
# Of a feature's exponent: beyond the first nearly all draws are at one end, and at 0 the inverse of
# the distribution function is 0 / 0; of a power of two no rounding adds up over many features.
_MOST, _LEAST = 10.0, 2.0**-20


class ImportanceSampler(Sampler):
    """Importance sampling of the points that violate the class (Owen and Zhou 2000).

    Hardly one in a hundred uniform samples of a good box violates the class, and only those carry
    information. Here one sample in eight is uniform, and the others are each tilted towards one of
    the three likeliest other classes: their density in feature i is proportional to exp(a_i u_i),
    with a along the gradient of that class's lead over the target, times the box's side. A sample
    has the weight 1 / q for the density q of the mixture, so that weighted means are those of
    uniform samples, and none counts more than eight times what it would among uniform ones.
    Gradients are first taken next to the row; every few steps the directions turn to the gradients
    at samples that have violated the class since.

    The derivative is smoothed, less and less until the end of a search: its noise slows the first
    steps most, and where the last ones end depends on its mean. Rows share the uniform numbers that
    their samples are made of, and nothing else.

    Attributes:
        part: (M,) the part of the mixture that each sample is of; part 0 is uniform, the others
            are tilted towards a class each.

    Raises:
        PredictorError: if the model has no gradient.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)
        >>> x = torch.ones(1, 2)
        >>> boxes = Boxes(torch.tensor([0]), x, torch.full((1, 1, 2), 2.0))
        >>> sampler = ImportanceSampler(Hinge(Decision(model, x)), boxes, n=1000, seed=0)
        >>> samples = sampler.sample(boxes, done=0.0)
        >>> mean = samples.draws.mean(dim=(0, 1))
        >>> [round(u, 1) for u in mean.tolist()]  # class 1 is where x_0 < 0
        [0.2, 0.5]
        >>> round((samples.weight[..., None] * samples.draws).sum(dim=1)[0, 0].item(), 1)
        0.5
    """

    name = "importance"
    covers_box = True

    def __init__(self, hinge: Hinge, largest: Boxes, n: int, seed: int) -> None:
        super().__init__(hinge, largest, n, seed)
        decision, rows, x = hinge.decision, largest.rows, largest.x
        rivals = decision.rivals(rows, _MOST_CLASSES)
        self._uniform = uniform_numbers(x, seed)
        n_rivals = rivals.shape[1]
        one_round = [0, *(1 + m % n_rivals for m in range(_TILTED))]
        self._round = torch.tensor(one_round, device=x.device)
        self.part = self._round.repeat(math.ceil(n / len(one_round)))[:n]
        self._log_share = self.part.bincount(minlength=n_rivals + 1).to(x).log()[:, None]
        # Directions of the parts, and the gradients summed since the last turn. Part 0 has none.
        self._directions = x.new_zeros(2, len(rows), n_rivals + 1, x.shape[1:].numel())
        memory = x.new_tensor((_MEMORY, 1 - _MEMORY)).repeat(n_rivals + 1, 1)
        memory[0] = 0
        self._memory = memory.T[:, None, :, None]
        beside = largest.points(self._uniform(1, *x.shape[1:]))[:, 0]
        near = torch.lerp(x, beside, _NEAR).to(decision.x.dtype)
        blocks = torch.arange(len(rows), device=x.device).split(decision.batch_size or len(rows))
        for block in blocks if len(rows) else ():
            for part, rival in enumerate(rivals[block].unbind(dim=1), start=1):
                gradient = _gradient(decision, near[block], rows[block], rival)
                self._directions[0, block, part] = gradient.to(x.dtype)
        self._tilt, self._n_since = self._turned(largest), 0

    @property
    def caution(self) -> float:
        """1 + 6 / M: steps are the more cautious the fewer the samples."""
        return 1 + _CAUTION / self._n

    def sample(self, boxes: Boxes, done: float) -> Samples:
        """New samples; their weights are about 1 / M on average, and their sum varies."""
        if self._n_since == _STEPS_A_TURN:
            self._tilt, self._n_since = self._turned(boxes), 0
        self._n_since += 1
        tilt, shift = self._tilt
        n_rounds = math.ceil(self._n / len(self._round))
        shared = self._uniform(n_rounds, len(self._round), tilt.shape[2])
        # The inverse of the distribution function of each sample's part.
        of_draws = tilt.index_select(1, self._round)[:, None]
        draws = (shared * of_draws.expm1()).log1p_().div_(of_draws).clamp_(0, 1)
        draws = draws.flatten(1, 2)[:, : self._n]
        # The density of each part at each sample.
        density = torch.baddbmm(shift, tilt, draws.mT).exp_()
        weight = density.sum(dim=1).reciprocal_()
        draws = draws.unflatten(2, boxes.x.shape[1:])
        return Samples(boxes, draws, weight, smoothing=1 - done)

    def learn(self, block: Evaluated) -> None:
        """Add the gradients of samples that violate the class to those of their parts."""
        gradients = self._directions[1]
        gradients = gradients.view(*gradients.shape[:2], *block.boxes.x.shape[1:])
        block.chosen.add(block.counted, self.part[block.part], gradients[block.rows])

    def keep(self, kept: Tensor) -> None:
        """Forget the other rows."""
        self._directions = self._directions[:, kept]
        self._tilt = tuple(of[kept] for of in self._tilt)

    def _turned(self, boxes: Boxes) -> tuple[Tensor, ...]:
        """The tilt (a, p, d) of each part and its density at 0 (a, p, 1), as a logarithm.

        Directions turn to the gradients found since the last turn; lengths are those of draws, not
        in features' units. The density is multiplied by the part's number of samples.
        """
        reach = boxes.reach.flatten(1)[:, None]
        length = (self._directions * reach).norm(dim=3, keepdim=True)
        # A direction has no length where a box has no width yet or nothing was found.
        share = self._memory / length.where(length > 0, 1)
        directions, gradients = self._directions.unbind()
        torch.sum(self._directions * share, dim=0, out=directions).nan_to_num_(0, 0, 0)
        gradients.zero_()
        # The standard deviation of one u_i is 1 / sqrt(12).
        tilt = normalize(directions * reach, dim=2).mul_(_TILT * 12**0.5).clamp_(-_MOST, _MOST)
        tilt = tilt.where(tilt.abs() > _LEAST, _LEAST)
        # Of many features the logarithms add up, in 64 bits.
        norm = (tilt.expm1() / tilt).log_().sum(dim=2, keepdim=True, dtype=torch.float64)
        return tilt, (self._log_share - norm).to(tilt.dtype)


def _gradient(decision: Decision, points: Tensor, rows: Tensor, rival: Tensor) -> Tensor:
    """The gradient (a, d) of the rivals' (a,) lead over the target, at points of the rows."""
    with torch.enable_grad():
        points = points.requires_grad_()
        scores = decision.scores(points, rows)
        lead = scores.gather(1, rival[:, None]) - scores.gather(1, decision.target[rows, None])
    gradient = input_gradient(lead, points, "the search for a box follows; FIMAP needs none")
    return gradient.nan_to_num(0, 0, 0).flatten(1)
