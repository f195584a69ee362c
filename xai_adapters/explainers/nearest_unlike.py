"""The nearest unlike neighbour as a counterfactual."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips
from xai_adapters.registry.claims import QUERIES_MODEL
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

_FIRST_NEIGHBOURS = 16


@registered(
    baseline="data",
    kind="counterfactual",
    block_size=50,
    claims={**QUERIES_MODEL, "coverage": 0, "idempotence": 0},
)
def nearest_unlike(subject: Subject) -> CounterfactualGenerator:
    """Nearest unlike neighbour: the nearest training row that flips.

    Background rows of other classes are settled first, so that what a row may not change comes
    from the row itself; the nearest of these points that flips is returned.
    """
    encoded = EncodedSubject.of(subject)
    labels = encoded.labels(encoded.background, subject.background.dtype)

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        best = rows.clone()
        for at in range(len(rows)):
            unlike = encoded.background[labels != original_class[at]].to(rows)
            row = rows[at].expand_as(unlike)
            points = encoded.schema.settle(row, unlike)
            points = points[encoded.length(row, points).argsort(stable=True)]
            start, end = 0, _FIRST_NEIGHBOURS
            while start < len(points):
                some = points[start:end]
                flipped = flips(torch.full((len(some),), at, device=rows.device), some)
                if flipped.any():
                    best[at] = some[int(flipped.nonzero()[0])]
                    break
                start, end = end, 4 * end
        return best

    return encoded.generator(search)
