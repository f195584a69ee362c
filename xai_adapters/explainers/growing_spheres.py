"""Growing spheres: counterfactuals from random points in ever larger shells."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips
from xai_adapters.registry.claims import QUERIES_MODEL
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

_DRAWS = 500
_FIRST_RADIUS = 1.0
_HALVINGS = 10
_LAYERS = 20


@registered(kind="counterfactual", block_size=50, claims=QUERIES_MODEL)
def growing_spheres(subject: Subject) -> CounterfactualGenerator:
    """Growing spheres, 500 points a shell.

    The first ball is halved while any point in it flips; then shells as wide as that ball follow,
    each outside the one before. The nearest point that flips is kept and made sparse: changes that
    are not needed are undone, the smallest first. In a shell of radius r each category is drawn
    anew with a probability of r over its cost and the number of categorical features, so that
    categories cost about as much as numbers do. All rows share the draws.

    Laugel, Lesot, Marsala, Renard and Detyniecki, "Comparison-based inverse classification for
    interpretability in machine learning", IPMU 2018: algorithms 1 and 2.
    """
    encoded = EncodedSubject.of(subject)

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        generator = Generator(rows.device).manual_seed(subject.seed)
        best, nearest = rows.clone(), rows.new_full((len(rows),), torch.inf)
        width = torch.full_like(nearest, _FIRST_RADIUS)
        inner = torch.zeros_like(nearest)
        shrinking = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        active = torch.arange(len(rows), device=rows.device)
        for step in range(_HALVINGS + _LAYERS):
            draws = _Draws(encoded, generator)
            points = draws.in_shells(rows[active], inner[active], inner[active] + width[active])
            repeated = rows[active].repeat_interleave(_DRAWS, dim=0)
            points = encoded.schema.settle(repeated, points)
            flipped = flips(active.repeat_interleave(_DRAWS), points).view(-1, _DRAWS)
            length = encoded.length(repeated, points).view(-1, _DRAWS)
            length = length.masked_fill(~flipped, torch.inf)
            least, at = length.min(dim=1)
            better = least < nearest[active]
            won = active[better]
            nearest[won] = least[better]
            best[won] = points.view(len(active), _DRAWS, -1)[better, at[better]]
            # The ball shrinks until nothing in it flips; from then on the shell grows.
            hit = flipped.any(dim=1)
            halve = shrinking[active] & hit & (step < _HALVINGS)
            inner[active] = torch.where(halve, 0.0, inner[active] + width[active])
            width[active] = torch.where(halve, width[active] / 2, width[active])
            shrinking[active] = halve
            active = active[halve | ~hit]
            if len(active) == 0:
                break
        return _sparsify(encoded, rows, best, flips)

    return encoded.generator(search, {"n_draws": _DRAWS, "max_shells": _LAYERS})


class _Draws:
    """Directions, radii and categories that all rows share."""

    def __init__(self, encoded: EncodedSubject, generator: Generator) -> None:
        device, self.encoded = generator.device, encoded
        c, n_encoded = encoded.n_numbers, encoded.schema.n_encoded
        n_groups = len(encoded.category_costs)
        mutable = [feature.mutable for feature in encoded.schema.continuous]
        directions = torch.randn(_DRAWS, c, generator=generator, device=device)
        directions *= torch.tensor(mutable, device=device)
        self.directions = directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-12)
        self.share = torch.rand(_DRAWS, generator=generator, device=device)
        self.redraw = torch.rand(_DRAWS, n_groups, generator=generator, device=device)
        self.scores = torch.rand(_DRAWS, n_encoded - c, generator=generator, device=device)
        self.dimension = max(1, sum(mutable))

    def in_shells(self, rows: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        """Points (n * draws, e), not settled, in shells of these radii (n,) around rows (n, e)."""
        c, d = self.encoded.n_numbers, self.dimension
        # Uniform in volume between the radii; a ratio, as radii to the power of d would underflow.
        hollow = (inner / outer)[:, None] ** d
        radius = outer[:, None] * (hollow + self.share * (1 - hollow)) ** (1 / d)
        numbers = radius[:, :, None] * self.directions * self.encoded.scale.to(rows)
        points = rows[:, None].repeat(1, _DRAWS, 1)
        points[:, :, :c] += numbers.to(rows)
        if len(self.encoded.category_costs):
            costs = self.encoded.category_costs * len(self.encoded.category_costs)
            again = self.redraw < radius[:, :, None] / costs
            again = again[:, :, self.encoded.owner[c:] - c]
            choices = self.encoded.schema.choices(rows)[:, None]
            scores = self.scores.to(rows).expand(len(rows), -1, -1).masked_fill(~choices, -1.0)
            points[:, :, c:] = torch.where(again, scores, points[:, :, c:])
        return points.flatten(0, 1)


def _sparsify(encoded: EncodedSubject, rows: Tensor, points: Tensor, flips: Flips) -> Tensor:
    """Undo changes of features that are not needed, the smallest first."""
    best = points.clone()
    place = encoded.feature_changes(rows, points).argsort(dim=1).argsort(dim=1)[:, encoded.owner]
    for step in range(int(place.max()) + 1 if len(rows) else 0):
        sparser = torch.where(place == step, rows, best)
        # Without its last change a row has its own class.
        some = ((sparser != best).any(dim=1) & (sparser != rows).any(dim=1)).nonzero()[:, 0]
        flipped = some[flips(some, sparser[some])]
        best[flipped] = sparser[flipped]
    return best
