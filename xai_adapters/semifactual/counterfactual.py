"""Counterfactuals outside of boxes: as few moved features as possible, the narrowest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap.line_search import HALVES, shortest_flip
from xai_adapters.semifactual.table_boxes import TableBoxes

# Points in one call of the model.
_BLOCK = 8192
# Each query moves one feature more, or if there are many, an eighth more.
_MORE = 1.125


def nearest_counterfactuals(
    boxes: TableBoxes,
    width: Tensor,
    reach: Tensor,
    original_class: Tensor,
    target: Tensor | None,
) -> Tensor:
    """The nearest point (n, e) found outside of each box; the row itself where none was found.

    Args:
        boxes: the rows, and functions of points around them.
        width: (n, c) of the boxes, in units: the narrowest feature moves first.
        reach: (c,) how far features move at first, in units.
        original_class: (n,) the class of each row.
        target: (n,) the class to reach, None for any other than the row's own.
    """
    wanted = original_class if target is None else target
    sign = -1 if target is None else 1

    def progress(points: Tensor) -> Tensor:
        blocks = zip(points.split(_BLOCK), wanted.split(_BLOCK), strict=True)
        return torch.cat(
            [
                sign * boxes.probabilities(some).gather(1, classes[:, None])[:, 0]
                for some, classes in blocks
            ]
        )

    def flips(rows: Tensor, points: Tensor) -> Tensor:
        found = boxes.labels(points)
        return found != original_class[rows] if target is None else found == target[rows]

    destination = _destinations(boxes.schema, boxes.encoded, reach * boxes.unit, progress)
    if target is not None:
        is_there = (target == original_class)[:, None]
        destination = torch.where(is_there, boxes.encoded, destination)
    order = _order(boxes.schema, width)
    return leave_box(boxes.schema, boxes.encoded, destination, order, flips)[0]


def _destinations(
    schema: FeatureSchema, encoded: Tensor, reach: Tensor, progress: Callable[[Tensor], Tensor]
) -> Tensor:
    """For each feature (n, e) the value with which it makes the most progress if moved alone."""
    destination = encoded.clone()
    nothing = encoded.new_full((len(encoded),), -torch.inf)
    for column, step in enumerate(reach.tolist()):
        gain = nothing.clone()
        for change in (-step, step):
            point = encoded.clone()
            point[:, column] += change
            point = schema.settle(encoded, point)
            found = progress(point).to(gain)
            better = (found > gain) & (point[:, column] != encoded[:, column])
            destination[better, column], gain[better] = point[better, column], found[better]
    may_take, n_numbers = schema.choices(encoded), len(reach)
    start = n_numbers
    for size in schema.group_sizes:
        gain, group = nothing.clone(), slice(start, start + size)
        for category in range(start, start + size):
            point = encoded.clone()
            point[:, group] = 0
            point[:, category] = 1
            found = progress(point).to(gain)
            other = may_take[:, category - n_numbers] & (encoded[:, category] == 0)
            better = (found > gain) & other
            destination[better, group], gain[better] = point[better, group], found[better]
        start += size
    return destination


def _order(schema: FeatureSchema, width: Tensor) -> Tensor:
    """When (n, e) each encoded column's feature moves, from 0: narrow first, categories last."""
    sizes = torch.tensor(schema.group_sizes, dtype=torch.int64)
    of_groups = (width.shape[1] + torch.arange(len(sizes))).repeat_interleave(sizes)
    of_numbers = width.argsort(dim=1, stable=True).argsort(dim=1)
    return torch.cat((of_numbers, of_groups.to(width.device).expand(len(width), -1)), dim=1)


def leave_box(
    schema: FeatureSchema,
    original: Tensor,
    destination: Tensor,
    order: Tensor,
    flips: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Move features one after the other until the decision flips, then undo needless changes.

    Features move to their destinations in the given order. If the decision has not flipped when
    all have moved, numbers move on beyond their destinations. Once it has flipped, features return
    in reverse order to their old values where the decision stays flipped, and what remains of the
    change is shortened by halving. All rows are queried together, and no row depends on
    another. A row that is reported as flipped lies exactly at a point that was asked.

    Args:
        schema: settles every point.
        original: (n, e) encoded rows.
        destination: (n, e) where each feature moves, settled.
        order: (n, e) integers from 0: when the feature of each encoded column moves.
        flips: for row numbers (a,) and encoded points (a, e), whether the decision there is the
            wanted one (a,).

    Returns:
        (n, e) encoded rows, unchanged where nothing flipped them, and (n,) whether they flip.
    """
    best = original.clone()
    success = torch.zeros(len(best), dtype=torch.bool, device=best.device)

    def try_points(rows: Tensor, points: Tensor) -> None:
        flipped = flips(rows, points)
        best[rows[flipped]] = points[flipped]
        success[rows[flipped]] = True

    def shorten(
        rows: Tensor, points: Tensor, *, known: bool | None, divisions: Sequence[int]
    ) -> None:
        """Take the shortest step from rows to points (a, e), known to flip or not, that flips."""
        found, nearest = shortest_flip(
            schema,
            original[rows],
            points,
            lambda some, points: flips(rows[some], points),
            known=known,
            divisions=divisions,
        )
        best[rows[found]] = nearest
        success[rows[found]] = True

    n_features = int(order.max()) + 1
    n_moved = 0
    while n_moved < n_features:
        already, n_moved = n_moved, min(n_features, max(n_moved + 1, int(_MORE * n_moved)))
        moving = (order >= already) & (order < n_moved) & (destination != original)
        rows = (~success & moving.any(dim=1)).nonzero()[:, 0]
        if len(rows):
            has_moved = order[rows] < n_moved
            try_points(rows, torch.where(has_moved, destination[rows], original[rows]))
    unflipped = (~success).nonzero()[:, 0]
    if len(unflipped):
        shorten(unflipped, destination[unflipped], known=None, divisions=())
    for last in range(n_features - 1, -1, -1):
        differs, mine = best != original, order == last
        # Without its only change a row is unchanged, and there is nothing to ask.
        asked = (differs & mine).any(dim=1) & (differs & ~mine).any(dim=1)
        rows = (success & asked).nonzero()[:, 0]
        if len(rows):
            try_points(rows, torch.where(order[rows] == last, original[rows], best[rows]))
    found = (success & (best != original).any(dim=1)).nonzero()[:, 0]
    if len(found):
        shorten(found, best[found], known=True, divisions=HALVES)
    return best, success
