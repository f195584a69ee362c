"""The length of the shortest perturbation that leaves a class of the surrogate."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.search import CounterfactualSearch

# Points tried around a row; more hardly shorten the perturbation.
_N_NEARBY = 30
# Rows around which points are drawn at once.
_BLOCK = 512


def shortest_length(
    networks: FittedNetworks, encoded: Tensor, original_class: Tensor, seed: int
) -> Tensor:
    """Length (n,) of the shortest perturbation found that leaves a class of the surrogate.

    Args:
        networks: fitted; the black box is not queried.
        encoded: (n, e) rows.
        original_class: (n,) the class each row has to leave.
        seed: of the points tried around each row.
    """
    parts = zip(encoded.split(_BLOCK), original_class.split(_BLOCK), strict=True)
    return torch.cat([_shortest_length_of_block(networks, *part, seed) for part in parts])


def _shortest_length_of_block(
    networks: FittedNetworks, encoded: Tensor, original_class: Tensor, seed: int
) -> Tensor:
    target = networks.nearest_other(encoded, original_class)

    def flips(rows: Tensor, points: Tensor) -> Tensor:
        return networks.surrogate_class(points) != original_class[rows]

    search = CounterfactualSearch(networks, encoded, networks.proposal(encoded, target), flips)
    search.line_search(networks.mean_change[target])
    search.local_search(_N_NEARBY, seed, keep_zeros=False)
    return networks.length(encoded, search.best)
