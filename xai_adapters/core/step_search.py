"""How far to go in a given direction until a decision changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from xai_adapters.core.features import FeatureSchema


def shortest_step(
    changes: Callable[[Tensor, Tensor], Tensor],
    n_rows: int,
    device: torch.device,
    *,
    n_halvings: int = 6,
    n_growths: int = 2,
    growth: float = 2.25,
    known: bool = False,
    whole: Tensor | None = None,
    looks_ahead: bool = False,
) -> tuple[Tensor, Tensor]:
    """For each row the shortest step along its direction that changes the decision.

    Every row is asked at step 1. Where that does not change the decision, longer steps are asked
    until one does; then the interval between a step that does not and one that does is halved. A
    step that is returned as changing the decision has been asked. All rows are asked together,
    each at most 1 + n_growths + n_halvings times (n_halvings, where step 1 is known to change the
    decision), and no row's steps depend on another's.

    Args:
        changes: tells for rows (a,) and steps (a,) whether the decision has changed there (a,).
        n_rows: how many rows there are.
        device: of the tensors.
        n_halvings: questions to shorten a step; the interval shrinks to 1 / 2^n_halvings.
        n_growths: questions to lengthen a step.
        growth: factor by which a step is lengthened.
        known: whether step 1 is known to change every row's decision.
        whole: (n,) rows of which a shorter step is the same as the whole one: they are not asked.
        looks_ahead: with each question to shorten a step, ask both that may follow it. The steps
            are the same and there are half as many calls, for half as many questions again
            (of an even n_halvings).

    Returns:
        (n,) steps, 1 where no step changed the decision, and (n,) whether it changed.

    Example:
        >>> beyond = torch.tensor([0.5, 2.0, 100.0])
        >>> steps, changed = shortest_step(lambda r, s: s > beyond[r], 3, torch.device("cpu"))
        >>> [round(step, 1) for step in steps.tolist()], changed.tolist()
        ([0.5, 2.0, 1.0], [True, True, False])
    """
    every = torch.arange(n_rows, device=device)
    below, above = torch.zeros(n_rows, device=device), torch.ones(n_rows, device=device)
    changed = torch.ones_like(every, dtype=torch.bool) if known else changes(every, above)
    for _ in range(n_growths):
        still = (~changed).nonzero()[:, 0]
        if len(still) == 0:
            break
        below[still] = above[still]
        above[still] *= growth
        changed[still] = changes(still, above[still])
    # Where nothing helped, a longer step is no better than the one that was given.
    above[~changed] = 1
    found = (changed if whole is None else changed & ~whole).nonzero()[:, 0]
    if n_halvings and len(found):
        shorter, longer = below[found], above[found]
        for _ in range(n_halvings // 2 if looks_ahead else n_halvings):
            middle = (shorter + longer) / 2
            if looks_ahead:
                early, late = (shorter + middle) / 2, (middle + longer) / 2
                steps = torch.cat((middle, early, late))
                at_middle, at_early, at_late = changes(found.repeat(3), steps).view(3, -1)
                after = torch.where(at_middle, early, late)
                answers = [(middle, at_middle), (after, torch.where(at_middle, at_early, at_late))]
            else:
                answers = [(middle, changes(found, middle))]
            for step, enough in answers:
                longer = torch.where(enough, step, longer)
                shorter = torch.where(enough, shorter, step)
        above[found] = longer
    return above, changed


def shortest_flip(
    schema: FeatureSchema,
    before: Tensor,
    end: Tensor,
    flips: Callable[[Tensor, Tensor], Tensor],
    *,
    known: bool = False,
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """For each encoded row the nearest point found on the way to another, or beyond, that flips.

    Numbers move in steps and categories at once; every point is settled by the schema.

    Args:
        schema: of the rows.
        before: (a, e) encoded rows.
        end: (a, e) where they go, with settled categories; their numbers need not be.
        flips: tells for positions (b,) among them and points (b, e) whether the decision is the
            wanted one there (b,).
        known: whether every `end` is known to flip. Then a row is among those found only if a
            shorter step flips too: the others stay exactly where they were asked about.
        **settings: of `shortest_step`.

    Returns:
        (f,) positions of the rows for which a point was found, and those points (f, e).
    """
    c = len(schema.continuous)
    change = end[:, :c] - before[:, :c]
    groups = end[:, c:]
    if not schema.is_free:
        lower, upper = schema.intervals(before)

    def point(some: Tensor, steps: Tensor) -> Tensor:
        own = before[some]
        moved = own[:, :c] + steps.to(change)[:, None] * change[some]
        if schema.is_free:
            return moved
        ends = lower[some], upper[some]
        numbers = schema.settle_numbers(own, moved, *ends)
        return torch.cat((numbers, groups[some]), dim=1)

    steps, flipped = shortest_step(
        lambda some, steps: flips(some, point(some, steps)),
        len(before),
        before.device,
        known=known,
        whole=(change == 0).all(dim=1),
        **settings,
    )
    if known:
        flipped &= steps < 1
    found = flipped.nonzero()[:, 0]
    return found, point(found, steps[found])
