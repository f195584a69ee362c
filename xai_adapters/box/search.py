"""Algorithm 1: the search for the largest boxes around many rows at once."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.box.expected_hinge import estimate
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.optimizer import RowOptimizer
from xai_adapters.box.samplers import SAMPLERS
from xai_adapters.box.settings import BoxSettings
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.utils.progress import progress


class SearchState:
    """What a search has found so far around n rows: zeros at first.

    Attributes:
        width: (n, s, ...) widths.
        n_steps: (n,) steps taken.
        converged: (n,) whether the row stopped as its objective no longer improved.
        history: (n, n_steps) the objective in each step; NaN in steps that were not taken.
        undefined: (n,) whether the model returned NaN inside the box.
        no_gradient: (n,) whether a gradient inside the box was needed that was not finite.
    """

    def __init__(self, empty: Boxes, n_steps: int) -> None:
        x, n = empty.x, len(empty.x)
        self.width = torch.zeros_like(empty.width)
        self.n_steps = torch.zeros(n, dtype=torch.int64, device=x.device)
        self.converged = torch.zeros(n, dtype=torch.bool, device=x.device)
        self.history = x.new_full((n, n_steps), torch.nan)
        self.undefined, self.no_gradient = self.converged.clone(), self.converged.clone()


def search(
    hinge: Hinge,
    empty: Boxes,
    max_width: Tensor,
    penalty: float,
    settings: BoxSettings,
    groups: FeatureGroups | None = None,
) -> SearchState:
    """Find the widths of each row's box.

    Args:
        hinge: of the model around the rows.
        empty: boxes of width 0 around the n rows.
        max_width: (n, ...) C of each feature.
        penalty: weight of the hinge in the objective, equation 3.2 divided by d.
        settings: of the search.
        groups: features that share one width.
    """
    x, found = empty.x, SearchState(empty, settings.n_steps)
    # Around a row of another class every box violates the target: nothing to search.
    rows = hinge.decision.has_target.nonzero()[:, 0]
    largest = empty.take(rows).replace(width=max_width[rows, None])
    start = (empty.start * largest.width).expand(-1, *found.width.shape[1:])
    optimizer = RowOptimizer(settings.optimizer, start, settings.step_size, settings.schedule)
    sampler = SAMPLERS[settings.sampling](hinge, largest, settings.n_draws, 2 * settings.seed)
    # Beyond the class probabilities are flat, so that nothing shrinks a box that has left it.
    may_be_lost = settings.hinge_on == "probabilities" and empty.is_continuous
    may_be_lost &= sampler.covers_box
    none, less = x.new_zeros(()), x.new_tensor(-1.0)
    gain, gain_before = x.new_zeros(len(rows)), x.new_full((len(rows),), -torch.inf)
    forward_first = hinge.reads_are_free
    for step in progress(range(settings.n_steps), "invariant box", settings.show_progress):
        if len(rows) == 0:
            break
        width, done = optimizer.values, step / settings.n_steps
        samples = sampler.sample(largest.replace(width=width), done)
        seen = estimate(hinge, samples, forward_first=forward_first, learn=sampler.learn)
        forward_first = hinge.reads_are_free and seen.few_violate
        if seen.undefined is not None:
            found.undefined[rows] |= seen.undefined
        if seen.no_gradient is not None:
            found.no_gradient[rows] |= seen.no_gradient
        objective = width.flatten(1).mean(dim=1).sub_(seen.hinge, alpha=penalty)
        found.history[rows, step] = objective
        gain += objective
        # Equation 3.2, negated as optimisers minimise; its lambda is penalty * d.
        slope = seen.derivative.mul_(sampler.caution)
        gradient = torch.add(less, slope, alpha=penalty * width[0].numel())
        if may_be_lost:
            violates = (seen.n_violations == seen.n_draws) & (objective < 0)
            violates &= gradient.flatten(1).mean(dim=1) < 0
            gradient = torch.where(violates.view(-1, *(1,) * x.ndim), gradient.abs(), gradient)
        if groups is not None:
            sides = [groups.mean(side, rows) for side in gradient.unbind(dim=1)]
            gradient = torch.stack(sides, dim=1)
        optimizer.step(gradient, done)
        width.clamp_(none, largest.width)
        if settings.tolerance > 0 and (step + 1) % settings.patience == 0:
            goes_on = gain - gain_before >= settings.tolerance * settings.patience
            if not goes_on.all():
                found.width[rows] = width
                found.converged[rows[~goes_on]] = True
                found.n_steps[rows[~goes_on]] = step + 1
                optimizer.keep(goes_on)
                sampler.keep(goes_on)
                rows, largest = rows[goes_on], largest.take(goes_on)
            gain, gain_before = torch.zeros_like(gain[goes_on]), gain[goes_on]
    found.width[rows] = optimizer.values
    found.n_steps[rows] = settings.n_steps
    return found
