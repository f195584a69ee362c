"""The perturber's last layer: numbers are moved, categories are drawn (FIMAP, equation 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

# A perturber that has learned nothing yet should leave categories alone: this is added to the
# log-probability of a row's own. Without it half as many categories more change (Adult).
OWN_CATEGORY = 3.0


class PartialGumbel:
    """Additive changes for continuous columns, one Gumbel-softmax for each one-hot group.

    Rows and outputs are encoded: continuous columns first, then the groups. An output is the
    change of a continuous column, or the log-probability of a category beside its fellows.

    Args:
        n_continuous: number of continuous columns.
        group_sizes: number of categories of each group.

    Example:
        >>> layer = PartialGumbel(1, [2])
        >>> row, outputs = torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([[0.25, 0.0, 9.0]])
        >>> layer.proposal(row, outputs).tolist()
        [[0.75, 3.0, 9.0]]
    """

    def __init__(self, n_continuous: int, group_sizes: Sequence[int]) -> None:
        self.n_continuous = n_continuous
        self.group_sizes = tuple(group_sizes)
        # Weights of numbers and of own categories in a proposal.
        n_categories = sum(self.group_sizes)
        self._weight = torch.tensor([1.0] * n_continuous + [OWN_CATEGORY] * n_categories)

    def proposal(self, rows: Tensor, outputs: Tensor) -> Tensor:
        """The outputs applied to rows: moved numbers (n, c), and a score for each category.

        Args:
            rows: (n, e) encoded rows.
            outputs: (n, e) of the perturber.
        """
        if not self.group_sizes:
            return rows + outputs
        return rows * self._weight.to(rows.device) + outputs

    def relaxed_sample(
        self, proposal: Tensor, choices: Tensor, temperature: float, generator: Generator
    ) -> Tensor:
        """Draw relaxed categories of a proposal by equation 4, differentiably.

        Args:
            proposal: (n, e), as from `proposal`.
            choices: (n, e - c) bool, the categories that each row may take.
            temperature: tau; the lower it is the nearer the samples are to one-hot.
            generator: where the Gumbel noise comes from.

        Returns:
            (n, e): the numbers as proposed, and samples that add up to 1 in each group.
        """
        if not self.group_sizes:
            return proposal
        scores = proposal[:, self.n_continuous :].masked_fill(~choices, -torch.inf)
        uniform = torch.rand(scores.shape, generator=generator, device=scores.device)
        # Away from 0 and 1, where the logarithms are infinite.
        gumbel = -(-uniform.clamp(1e-9, 1 - 1e-6).log()).log()
        groups = ((scores + gumbel) / temperature).split(self.group_sizes, dim=1)
        samples = [group.softmax(dim=1) for group in groups]
        return torch.cat((proposal[:, : self.n_continuous], *samples), dim=1)

    def sample(
        self, proposal: Tensor, choices: Tensor, temperature: float, generator: Generator
    ) -> Tensor:
        """Draw one-hot categories whose gradient is that of relaxed ones (straight-through).

        Arguments and result are those of `relaxed_sample`.
        """
        relaxed = self.relaxed_sample(proposal, choices, temperature, generator)
        if not self.group_sizes:
            return relaxed
        numbers, *groups = relaxed.split((self.n_continuous, *self.group_sizes), dim=1)
        samples = [
            torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
            + (soft - soft.detach())
            for soft in groups
        ]
        return torch.cat((numbers, *samples), dim=1)

    def changed(self, rows: Tensor, others: Tensor) -> Tensor:
        """How much each group differs (equation 5): (n, groups), 1 for another category."""
        differing = (rows - others)[:, self.n_continuous :].abs() / 2
        sums = [group.sum(dim=1) for group in differing.split(self.group_sizes, dim=1)]
        return torch.stack(sums, dim=1) if sums else differing[:, :0]
