"""How far to go in a given direction until a decision changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from xai_adapters.features.schema import FeatureSchema

# Into how many parts an interval is divided, one entry a call of the black box. Halves and
# quarters leave a 64th of it, with six queries in six calls or nine in three; thirds leave an
# 18th, with five queries in three calls.
HALVES = (2,) * 6
QUARTERS = (4,) * 3
THIRDS = (3, 3, 2)


def shortest_step(
    changes: Callable[[Tensor, Tensor], Tensor],
    n_rows: int,
    device: torch.device,
    *,
    divisions: Sequence[int] = HALVES,
    n_growths: int = 2,
    growth: float = 2.25,
    known: bool | None = None,
    whole: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """For each row the shortest step along its direction that changes the decision.

    Every row is queried at step 1. Where that does not change the decision, longer steps are tried
    until one does; then the interval between a step that does not and one that does is divided,
    and of the parts the first at whose end the decision has changed is divided again. A step that
    is returned as changing the decision has been queried. All rows are queried together, and no
    row's steps depend on another's.

    Args:
        changes: says for rows (a,) and steps (a,) whether the decision has changed there (a,).
        n_rows: number of rows.
        device: of the tensors.
        divisions: into how many parts intervals are divided, one after the other; k parts take
            k - 1 queries, made in one call.
        n_growths: queries to lengthen a step.
        growth: factor by which a step is lengthened.
        known: whether step 1 is known to change every row's decision, or known not to; None to
            query it.
        whole: (n,) rows of which a shorter step is the same as the whole one: they are not divided.

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
    changed = (
        torch.full_like(every, known, dtype=torch.bool)
        if known is not None
        else changes(every, above)
    )
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
    if divisions and len(found):
        shorter, longer = below[found, None], above[found, None]
        for n_parts in divisions:
            steps = shorter.lerp(longer, _shares(n_parts, device))
            rows = found.repeat_interleave(n_parts - 1)
            enough = changes(rows, steps[:, 1:-1].flatten()).view(len(found), -1)
            # The steps that are too short up to the first that is not.
            n_short = (~enough).cumprod(dim=1).sum(dim=1, keepdim=True)
            shorter, longer = steps.gather(1, n_short), steps.gather(1, n_short + 1)
        above[found] = longer[:, 0]
    return above, changed


@cache
def _shares(n_parts: int, device: torch.device) -> Tensor:
    """(n_parts + 1,) where an interval's equal parts end, from 0 to 1."""
    return torch.arange(n_parts + 1, device=device) / n_parts


def shortest_flip(
    schema: FeatureSchema,
    before: Tensor,
    end: Tensor,
    flips: Callable[[Tensor, Tensor], Tensor],
    *,
    known: bool | None = None,
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """For each encoded row the nearest point found on the way to another, or beyond, that flips.

    Numbers move in steps and categories at once; every point is settled by the schema.

    Args:
        schema: of the rows.
        before: (a, e) encoded rows.
        end: (a, e) where they go, with settled categories; their numbers need not be.
        flips: says for positions (b,) of rows and points (b, e) whether the decision there is the
            wanted one (b,).
        known: whether every `end` is known to flip, or known not to. Where it is known to, a row is
            returned only if a shorter step flips too: the others stay exactly at the end that was
            queried.
        **settings: of `shortest_step`.

    Returns:
        (f,) positions of the rows for which a point was found, and those points (f, e).
    """
    start = with_categories(schema, before, end)
    change = end - start
    intervals = schema.intervals(before)

    def point(some: Tensor, steps: Tensor) -> Tensor:
        own = start.index_select(0, some)
        moved = own + steps.to(change)[:, None] * change.index_select(0, some)
        if schema.is_free:
            return moved
        lower, upper = (ends.index_select(0, some) for ends in intervals)
        c = len(schema.continuous)
        numbers = schema.settle_numbers(own, moved[:, :c], lower, upper)
        return torch.cat((numbers, own[:, c:]), dim=1)

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


def with_categories(schema: FeatureSchema, rows: Tensor, others: Tensor) -> Tensor:
    """Encoded rows (n, e) with the categories of others (n, e)."""
    if not schema.categorical:
        return rows
    c = len(schema.continuous)
    return torch.cat((rows[:, :c], others[:, c:]), dim=1)
