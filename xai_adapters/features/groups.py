"""Features that share one value, such as the pixels of a superpixel or a colour's channels."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError


class FeatureGroups:
    """Which features of each row belong together, as Captum's `feature_mask` says it.

    Args:
        mask: integers from 0 that broadcast against the rows; features of a row with the same
            number form a group.
        rows: the rows (n, ...) the mask is for.

    Raises:
        InvalidInputError: if the mask does not fit the rows or holds other than integers from 0.

    Example:
        >>> groups = FeatureGroups(torch.tensor([[0, 0, 1]]), torch.zeros(1, 3))
        >>> groups.mean(torch.tensor([[1.0, 3.0, 5.0]])).tolist()
        [[2.0, 2.0, 5.0]]
    """

    def __init__(self, mask: Tensor, rows: Tensor) -> None:
        if mask.is_floating_point() or mask.is_complex() or (mask < 0).any():
            raise InvalidInputError("a feature mask holds integers from 0, one for each feature")
        try:
            groups = mask.to(rows.device, torch.int64).expand(rows.shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"a feature mask of shape {tuple(mask.shape)} does not fit rows of shape "
                f"{tuple(rows.shape)}"
            ) from error
        self._groups = groups.flatten(1)
        self._n_groups = int(mask.max()) + 1 if mask.numel() else 0
        if self._n_groups > 2 * self._groups.numel():
            # Numbers such as hashes: what is kept for each group must not grow with them.
            known, self._groups = self._groups.unique(return_inverse=True)
            self._n_groups = len(known)

    def mean(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Replace each value by the mean of its group.

        Args:
            values: (m, ...), one value a feature.
            rows: (m,) numbers of the rows these are; by default all.
        """
        return self._reduced(values, rows, "mean")

    def total(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Add up the values of each group.

        Args:
            values: (m, ...), one value a feature.
            rows: (m,) numbers of the rows these are; by default all.

        Returns:
            (m, groups), 0 for numbers that no feature of the row has.
        """
        groups = self._groups if rows is None else self._groups[rows]
        flat = values.flatten(1)
        return flat.new_zeros(len(flat), self._n_groups).scatter_add_(1, groups, flat)

    def spread(self, of_groups: Tensor, rows: Tensor | None = None) -> Tensor:
        """Give each feature what its group has: (m, groups) to (m, features)."""
        return of_groups.gather(1, self._groups if rows is None else self._groups[rows])

    def smallest(self, values: Tensor, rows: Tensor | None = None) -> Tensor:
        """Replace each value by the smallest of its group; arguments as for `mean`."""
        return self._reduced(values, rows, "amin")

    def _reduced(self, values: Tensor, rows: Tensor | None, how: str) -> Tensor:
        groups = self._groups if rows is None else self._groups[rows]
        flat = values.flatten(1)
        shared = flat.new_zeros(len(flat), self._n_groups)
        shared.scatter_reduce_(1, groups, flat, how, include_self=False)
        return shared.gather(1, groups).view(values.shape)
