"""What random draws say about a box: a bound on its violating share, and its safe scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def violating_mass(n_draws: int, n_rounds: int, confidence: float) -> float:
    """Bound the share of a box with another decision if a round of draws showed none.

    If a share p of a box violates, n independent draws show no violation with probability
    (1 - p)^n <= exp(-n p). A box that was chosen because it passed one of m rounds, each with
    fresh draws, has p <= ln(m / delta) / n with probability 1 - delta, by the union bound.

    Args:
        n_draws: n, draws in a round.
        n_rounds: m, rounds at most.
        confidence: 1 - delta.

    Example:
        >>> round(violating_mass(500, 1, 0.95), 4)
        0.006
    """
    return min(1.0, math.log(n_rounds / (1 - confidence)) / n_draws)


def largest_safe_scale(
    violates: Callable[[Tensor, Tensor, int], Tensor],
    n_rows: int,
    n_rounds: int,
    device: torch.device,
) -> Tensor:
    """Find by halving the largest scale at which no violation is seen.

    Each row's box is tried at full scale first. Rows do not influence each other.

    Args:
        violates: for rows (a,), scales (a,) and the number of the round, whether a violation is
            seen (a,); each round should use fresh draws.
        n_rows: n.
        n_rounds: rounds at most; the scale is found to 2^(1 - n_rounds).
        device: of the tensors.

    Returns:
        (n,) scales in [0, 1] that were tried and showed no violation; 0, the row alone, where every
        scale tried showed one.

    Example:
        >>> safe = torch.tensor([0.3, 2.0])
        >>> scale = largest_safe_scale(lambda r, s, k: s > safe[r], 2, 4, torch.device("cpu"))
        >>> scale.tolist()
        [0.25, 1.0]
    """
    below = torch.zeros(n_rows, device=device)
    above = torch.full((n_rows,), 2.0, device=device)
    rows = torch.arange(n_rows, device=device)
    for number in range(n_rounds):
        middle = (below[rows] + above[rows]) / 2
        seen = violates(rows, middle, number)
        above[rows] = torch.where(seen, middle, above[rows])
        below[rows] = torch.where(seen, below[rows], middle)
        # Boxes that are safe at full scale are done.
        rows = rows[below[rows] < 1]
        if len(rows) == 0:
            break
    return below
