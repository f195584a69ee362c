"""Leaving a box: the fewest features that have to move, narrowest first, until a decision flips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap.line_search import HALVES, shortest_flip

# One feature more in each question, and where there are many, an eighth more.
_MORE = 1.125


def leave_box(
    schema: FeatureSchema,
    original: Tensor,
    end: Tensor,
    place: Tensor,
    flips: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Move features one after the other until the decision flips, then undo what was not needed.

    Features move to their ends in the order of their places. Where all have moved in vain, numbers
    go on beyond their ends. Of a row that has flipped, features are put back in reverse order
    where the decision stays flipped without them, and what is left of the way is halved down to
    the shortest step. All rows are asked about together and no row's way depends on another's; a
    row that is said to have flipped lies exactly where it was asked.

    Args:
        schema: settles every point.
        original: (n, e) encoded rows.
        end: (n, e) where each feature would go, settled.
        place: (n, e) integers from 0: the place in the order of the feature that each encoded
            column belongs to.
        flips: tells for row numbers (a,) and encoded points (a, e) whether the decision is the
            wanted one there (a,).

    Returns:
        (n, e) encoded rows, as they were where nothing flipped them, and (n,) whether they flip.
    """
    best = original.clone()
    success = torch.zeros(len(best), dtype=torch.bool, device=best.device)

    def try_points(rows: Tensor, points: Tensor) -> None:
        flipped = flips(rows, points)
        best[rows[flipped]] = points[flipped]
        success[rows[flipped]] = True

    def go_along(
        rows: Tensor, towards: Tensor, *, known: bool | None, divisions: Sequence[int]
    ) -> None:
        """The shortest step from the rows to points (a, e), known to flip or not, that flips."""
        found, points = shortest_flip(
            schema,
            original[rows],
            towards,
            lambda some, points: flips(rows[some], points),
            known=known,
            divisions=divisions,
        )
        best[rows[found]] = points
        success[rows[found]] = True

    n_features = int(place.max()) + 1
    n_moved = 0
    while n_moved < n_features:
        already, n_moved = n_moved, min(n_features, max(n_moved + 1, int(_MORE * n_moved)))
        news = (place >= already) & (place < n_moved) & (end != original)
        rows = (~success & news.any(dim=1)).nonzero()[:, 0]
        if len(rows):
            try_points(rows, torch.where(place[rows] < n_moved, end[rows], original[rows]))
    in_vain = (~success).nonzero()[:, 0]
    if len(in_vain):
        go_along(in_vain, end[in_vain], known=None, divisions=())
    for last in range(n_features - 1, -1, -1):
        differs, mine = best != original, place == last
        # Without its last change a row is what it was, and there is nothing to ask.
        asked = (differs & mine).any(dim=1) & (differs & ~mine).any(dim=1)
        rows = (success & asked).nonzero()[:, 0]
        if len(rows):
            try_points(rows, torch.where(place[rows] == last, original[rows], best[rows]))
    found = (success & (best != original).any(dim=1)).nonzero()[:, 0]
    if len(found):
        go_along(found, best[found], known=True, divisions=HALVES)
    return best, success
