"""Counterfactuals that follow a network's gradient.

Both methods move encoded rows within their constraints, categories as weights between 0 and 1, and
query the network about the settled rows on the way. Categories held as codes have no gradient and
stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips
from xai_adapters.model.state import left_as_found
from xai_adapters.registry.claims import QUERIES_MODEL
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

_STEP = 0.05
_ASCENT_STEPS = 200
# Wachter's lambda: each round of steps has ten times the weight of the one before.
_WEIGHTS = (0.1, 1.0, 10.0, 100.0, 1000.0)
_STEPS_A_ROUND = 100
_MOMENTS, _TINY = (0.9, 0.999), 1e-8


@registered(kind="counterfactual", claims=QUERIES_MODEL)
def gradient_ascent(subject: Subject) -> CounterfactualGenerator:
    """Steps along the other class's gradient until it flips.

    Each is a twentieth of a standard deviation long.
    """
    network = _Network(subject)
    encoded = network.encoded
    scale = encoded.column_scale

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best, at = rows.clone(), rows.clone()
        active = torch.arange(len(rows), device=rows.device)
        for _ in range(_ASCENT_STEPS):
            before = at[active]
            loss_gradient = network.gradient(before, original_class[active])
            direction = -loss_gradient * scale * _free(encoded, rows[active])
            direction /= direction.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
            at[active] = _within(encoded, rows[active], before + _STEP * direction * scale)
            settled = encoded.schema.settle(rows[active], at[active])
            flipped = flips(active, settled)
            best[active[flipped]] = settled[flipped]
            active = active[~flipped]
            if len(active) == 0:
                break
        return best

    return encoded.generator(search, {"n_steps": _ASCENT_STEPS, "step_size": _STEP})


@registered(kind="counterfactual", claims=QUERIES_MODEL)
def wachter(subject: Subject) -> CounterfactualGenerator:
    """Wachter et al.: gradient descent on the other class's loss and the distance.

    Adam minimizes lambda times the loss plus the distance, for a lambda that grows until the row
    flips. Of the settled points on the way that flip, the nearest is kept. The distance is the
    paper's: absolute changes over each column's median absolute deviation (over its standard
    deviation where that is 0), plus one for each category that changes. In place of the squared
    error, whose gradient vanishes where a network is certain, the loss is minus the logarithm of
    the probability of all other classes together.

    Wachter, Mittelstadt and Russell, "Counterfactual explanations without opening the black box",
    Harvard Journal of Law & Technology 2018, equations 1, 2 and 4.
    """
    network = _Network(subject)
    encoded = network.encoded
    deviation = _median_deviation(encoded)

    def distance(points: Tensor, rows: Tensor) -> Tensor:
        return ((points - rows).abs() / deviation.to(rows)).sum(dim=1)

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best, nearest = rows.clone(), rows.new_full((len(rows),), torch.inf)
        active = torch.arange(len(rows), device=rows.device)
        for weight in _WEIGHTS:
            some, classes = rows[active], original_class[active]
            free, step = _free(encoded, some), _STEP * encoded.column_scale
            points = some.clone()
            first, second = torch.zeros_like(points), torch.zeros_like(points)
            for number in range(1, _STEPS_A_ROUND + 1):
                # The distance has a corner at the row itself; sign(0) = 0 is a subgradient there.
                gradient = (points - some).sign() / deviation.to(some)
                gradient += weight * network.gradient(points, classes)
                # Adam, in each column's own unit.
                gradient *= free * encoded.column_scale
                first = _MOMENTS[0] * first + (1 - _MOMENTS[0]) * gradient
                second = _MOMENTS[1] * second + (1 - _MOMENTS[1]) * gradient.square()
                mean = first / (1 - _MOMENTS[0] ** number)
                spread = (second / (1 - _MOMENTS[1] ** number)).sqrt()
                points = _within(encoded, some, points - step * mean / (spread + _TINY))
                settled = encoded.schema.settle(some, points)
                far = distance(settled, some)
                better = flips(active, settled) & (far < nearest[active])
                best[active[better]] = settled[better]
                nearest[active[better]] = far[better]
            active = active[nearest[active] == torch.inf]
            if len(active) == 0:
                break
        return best

    settings = {"weights": _WEIGHTS, "steps_per_weight": _STEPS_A_ROUND, "step_size": _STEP}
    return encoded.generator(search, settings)


class _Network:
    """A subject's network, whose gradients are taken without leaving a trace on it."""

    def __init__(self, subject: Subject) -> None:
        self.module, self.encoded = subject.network(), EncodedSubject.of(subject)
        self.dtype = subject.background.dtype

    def gradient(self, points: Tensor, original_class: Tensor) -> Tensor:
        """Gradient (n, e) of minus the log-probability of leaving classes (n,) at points (n, e)."""
        with torch.enable_grad(), left_as_found(self.module, points.device):
            points = points.detach().requires_grad_()
            outputs = self.module(self.encoded.schema.decode(points).to(self.dtype))
            (gradient,) = torch.autograd.grad(self._loss(outputs, original_class).sum(), points)
        return gradient

    def _loss(self, outputs: Tensor, original_class: Tensor) -> Tensor:
        one = outputs.shape[1] == 1
        if self.encoded.gives_probabilities:
            outputs = torch.cat((1 - outputs, outputs), dim=1) if one else outputs
            outputs = outputs.clamp(min=torch.finfo(outputs.dtype).tiny).log()
        elif one:
            outputs = torch.cat((torch.zeros_like(outputs), outputs), dim=1)
        left = nn.functional.one_hot(original_class, outputs.shape[1]).bool()
        return outputs.logsumexp(dim=1) - outputs.masked_fill(left, -torch.inf).logsumexp(dim=1)


def _free(encoded: EncodedSubject, rows: Tensor) -> Tensor:
    """1 where an encoded column of a row may change at all, else 0: (n, e)."""
    lower, upper = encoded.schema.intervals(rows)
    mutable = torch.tensor([feature.mutable for feature in encoded.schema.categorical])
    groups = mutable.to(rows.device)[encoded.owner[encoded.n_numbers :] - encoded.n_numbers]
    return torch.cat(((lower < upper), groups.expand(len(rows), -1)), dim=1).to(rows)


def _within(encoded: EncodedSubject, rows: Tensor, points: Tensor) -> Tensor:
    """Points (n, e) with numbers in their intervals and categories' weights in [0, 1]."""
    lower, upper = encoded.schema.intervals(rows)
    c = encoded.n_numbers
    weights = points[:, c:].clamp(0, 1) * encoded.schema.choices(rows)
    return torch.cat((points[:, :c].clamp(lower, upper), weights), dim=1)


def _median_deviation(encoded: EncodedSubject) -> Tensor:
    """What (e,) an encoded column's change is divided by."""
    c = encoded.n_numbers
    numbers = encoded.background[:, :c]
    deviation = (numbers - numbers.median(dim=0).values).abs().median(dim=0).values
    deviation = torch.where(deviation > 0, deviation, encoded.unit.to(deviation))
    # Of a category that changes two columns do.
    groups = deviation.new_full((encoded.background.shape[1] - c,), 2.0)
    return torch.cat((deviation, groups))
