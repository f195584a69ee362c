"""Rows with the black box's answers: what the networks are fitted to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

# Rows encoded at once where all are visited.
_BLOCK = 2048


@dataclass
class Pool:
    """Rows for which the black box has answered; they are read in place, never copied.

    Args:
        rows: (n, d) rows.
        answers: (n, K) probabilities, or one-hot where only labels are known.
        encode: encodes rows (b, d) as (b, e).
        members: (m,) positions of the rows that belong here; None for all.
    """

    rows: Tensor
    answers: Tensor
    encode: Callable[[Tensor], Tensor] = lambda rows: rows
    members: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows that belong here."""
        return len(self.rows if self.members is None else self.members)

    def take(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded rows (b, e) and their answers (b, K) by positions (b,) among the members."""
        if self.members is not None:
            positions = self.members[positions]
        return self.encode(self.rows[positions]), self.answers[positions]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All encoded rows and their answers, block by block."""
        for positions in torch.arange(len(self), device=self.rows.device).split(_BLOCK):
            yield self.take(positions)

    def add(self, rows: Tensor, answers: Tensor) -> None:
        """Add rows, except those of a class that was unknown when fitting began."""
        n_classes = self.answers.shape[1]
        known = answers.argmax(dim=1) < n_classes
        # A black box may have fewer classes than the labels given to fit, or more.
        answers = pad(answers, (0, n_classes - answers.shape[1])).to(self.answers.dtype)
        self.rows = torch.cat((self.rows, rows[known]))
        self.answers = torch.cat((self.answers, answers[known]))

    def sample(self, n_rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """At most `n_rows` encoded rows drawn without replacement, and the class of each."""
        order = torch.randperm(len(self), generator=generator, device=self.rows.device)
        rows, answers = self.take(order[:n_rows])
        return rows, answers.argmax(dim=1)

    def split(self, fraction: float, generator: Generator) -> tuple[Pool, Pool]:
        """Two pools, the second with about this share of the rows; all in the first for 0."""
        device = self.rows.device
        order, n_second = torch.arange(len(self), device=device), 0
        if fraction > 0:
            order = torch.randperm(len(self), generator=generator, device=device)
            n_second = max(1, round(fraction * len(self)))
        first, second = order.split((len(self) - n_second, n_second))
        return replace(self, members=first), replace(self, members=second)


def take_from_both(first: Pool, second: Pool, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Encoded rows and answers by their positions among those of two pools, one after the other."""
    if not len(second):
        return first.take(positions)
    n_first = len(first)
    pairs = zip(
        first.take(positions.clamp(max=n_first - 1)),
        second.take((positions - n_first).clamp(min=0)),
        strict=True,
    )
    is_first = (positions < n_first)[:, None]
    rows, answers = (torch.where(is_first, *pair) for pair in pairs)
    return rows, answers
