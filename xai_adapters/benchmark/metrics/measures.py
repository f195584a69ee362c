"""What can be measured of attributions, by the names that `--metrics` takes.

A measure is a function of an explainer's scores for some rows, and gives a value a row for each of
its metrics. What all explainers are measured by unless told costs little beside explaining; the
others are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.facts import (
    CURVE,
    DELETION,
    INSERTION,
    RANDOMIZATION,
    masking_metrics,
)
from xai_adapters.benchmark.metrics.masking_curve import (
    THRESHOLDS,
    Fill,
    masked_answers,
    relevance_ranks,
)
from xai_adapters.benchmark.metrics.randomization import SHARES, randomized
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import require
from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.random_state import derived_seed
from xai_adapters.utils.rank_correlation import rank_correlation

Values = dict[str, Tensor]
# Scores of an explainer for rows and classes.
Explain = Callable[[Tensor, Tensor], Tensor]
# The same explainer, with the same random numbers, made for another model that has a name.
ExplainModel = Callable[[str, Any], Explain]
_SUBSETS = 50
_MOVES = 10
# Of the range of a feature.
_RADIUS = 0.02


@dataclass(frozen=True)
class Scored:
    """What a measure is given.

    Args:
        task: model and background.
        black_box: the model, asked.
        rows: (n, ...) that were explained.
        classes: (n,) that the model gives them.
        scores: (n, ...) that an explainer gives their features.
        by_magnitude: whether a feature is relevant by its score's magnitude.
        explain: the explainer, for rows and classes.
        explain_model: the same explainer for another model, which has a name.
        seed: of what is drawn.
        first: the place of the first row in the task.
    """

    task: Task
    black_box: BlackBox
    rows: Tensor
    classes: Tensor
    scores: Tensor
    by_magnitude: bool
    explain: Explain
    explain_model: ExplainModel
    seed: int
    first: int = 0

    def drawn(self, draw: Callable[..., Tensor], n: int) -> Tensor:
        """Numbers for n copies of each row, one after another, that its block makes no other."""
        shape, found = (n, *self.rows.shape[1:]), []
        for place in range(self.first, self.first + len(self.rows)):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, place))
            found.append(draw(shape, generator=generator))
        return torch.cat(found).to(self.rows)

    @property
    def batch_size(self) -> int:
        """Rows that the model is asked about at once."""
        return self.black_box.batch_size

    @property
    def relevance(self) -> Tensor:
        """(n, d) the larger, the more a feature matters; of images by pixel."""
        return relevance(self.scores, self.by_magnitude)

    def probability(self, rows: Tensor, classes: Tensor) -> Tensor:
        """(m,) what the model gives the classes (m,)."""
        return self.black_box.probabilities(rows).gather(1, classes[:, None])[:, 0]


def relevance(scores: Tensor, by_magnitude: bool) -> Tensor:
    """(n, d) from scores (n, d) or (n, channels, height, width): pixels have one relevance."""
    sized = scores.abs() if by_magnitude else scores
    return sized.mean(dim=1).flatten(1) if scores.ndim == 4 else sized


def measure_masking(scored: Scored, fill: Fill | float, suffix: str) -> Values:
    """Masking the least relevant pixels: decisions that change, and, from its end, insertion."""
    answers = _masked(scored, fill, most_relevant_first=False)
    changed = answers.argmax(dim=2) != scored.classes[:, None]
    uncovered = _of_class(answers, scored.classes).flip(1)
    found = {CURVE: changed.double(), INSERTION: uncovered, "insertion_area": _area(uncovered)}
    return {name + suffix: values for name, values in (found | masking_metrics(changed)).items()}


def measure_deletion(scored: Scored, fill: Fill | float, suffix: str) -> Values:
    """Masking the most relevant pixels."""
    answers = _masked(scored, fill, most_relevant_first=True)
    left = _of_class(answers, scored.classes)
    return {DELETION + suffix: left, "deletion_area" + suffix: _area(left)}


def _masked(scored: Scored, fill: Fill | float, *, most_relevant_first: bool) -> Tensor:
    ranks = relevance_ranks(scored.scores, by_magnitude=scored.by_magnitude, seed=scored.seed)
    return masked_answers(
        scored.black_box.probabilities, scored.rows, ranks, fill=fill,
        batch_size=scored.batch_size, most_relevant_first=most_relevant_first,
    )  # fmt: skip


def _of_class(answers: Tensor, classes: Tensor) -> Tensor:
    index = classes[:, None, None].expand(-1, answers.shape[1], 1)
    return answers.gather(2, index)[:, :, 0].double()


def _area(curve: Tensor) -> Tensor:
    return torch.trapezoid(curve, curve.new_tensor(THRESHOLDS), dim=1)


def measure_sparseness(scored: Scored) -> Values:
    """The Gini index of magnitudes; 0 for scores that are all zero."""
    sizes = relevance(scored.scores, by_magnitude=True).double().sort(dim=1).values
    n = sizes.shape[1]
    place = torch.arange(1, n + 1, dtype=sizes.dtype, device=sizes.device)
    share = sizes / sizes.sum(dim=1, keepdim=True).clamp(min=torch.finfo(sizes.dtype).tiny)
    gini = (share * (2 * place - n - 1)).sum(dim=1) / n
    return {"sparseness": gini}


def measure_faithfulness(scored: Scored) -> Values:
    """Correlation of scores taken away with probability lost; 0 where one never varies.

    All rows share the halves, so that a row's value does not depend on its block.
    """
    rows = scored.rows
    spots = scored.relevance
    d = spots.shape[1]
    generator = torch.Generator().manual_seed(scored.seed)
    order = torch.rand(_SUBSETS, d, generator=generator).argsort(dim=1)
    absent = (order < (d + 1) // 2).to(rows.device)
    taken = spots.double() @ absent.T.double()
    fill: Tensor | float
    if scored.task.kind == "image":
        hidden, fill = absent.view(-1, 1, *rows.shape[2:]), scored.task.mask_value
    else:
        hidden, fill = absent, scored.task.background.mean(dim=0)
    at_once = max(1, scored.batch_size // _SUBSETS)
    left = []
    for some, labels in zip(rows.split(at_once), scored.classes.split(at_once), strict=True):
        masked = torch.where(hidden, fill, some[:, None]).flatten(0, 1)
        asked = scored.probability(masked, labels.repeat_interleave(_SUBSETS))
        left.append(asked.view(-1, _SUBSETS))
    lost = scored.probability(rows, scored.classes)[:, None] - torch.cat(left)
    return {"faithfulness": _correlation(taken, lost.double())}


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation (n,) of rows (n, m); 0 where one is constant."""
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    return torch.nn.functional.cosine_similarity(first, second, dim=1)


def measure_infidelity(scored: Scored) -> Values:
    """Captum's infidelity, its scores scaled."""
    metrics = require("captum.metrics", "captum")
    radius = _span(scored.task) * _RADIUS

    def moved(rows: Tensor) -> tuple[Tensor, Tensor]:
        moves = radius * scored.drawn(torch.randn, len(rows) // len(scored.rows))
        return moves, rows - moves

    found: Tensor = metrics.infidelity(
        _forward(scored), moved, scored.rows, scored.scores, target=scored.classes,
        n_perturb_samples=_MOVES, normalize=True,
    )  # fmt: skip
    return {"infidelity": found}


def measure_sensitivity(scored: Scored) -> Values:
    """Captum's max-sensitivity: the explainer is asked about rows nearby."""
    metrics = require("captum.metrics", "captum")
    radius = _span(scored.task) * _RADIUS

    def moved(rows: Tensor, _: float = 0.0) -> Tensor:
        return rows + radius * (2 * scored.drawn(torch.rand, len(rows) // len(scored.rows)) - 1)

    def explain(rows: Tensor | tuple[Tensor], target: Tensor) -> tuple[Tensor]:
        # First in a tuple of its own accord, then what was moved.
        return (scored.explain(rows[0] if isinstance(rows, tuple) else rows, target),)

    found: Tensor = metrics.sensitivity_max(
        explain, scored.rows, perturb_func=moved, n_perturb_samples=_MOVES, target=scored.classes
    )
    return {"max_sensitivity": found}


def measure_randomization(scored: Scored) -> Values:
    """How alike the order of the features is for the model with its last layers randomised."""
    own, alike = scored.relevance, []
    for share in SHARES:
        model = randomized(scored.task.model, share, scored.seed)
        scores = scored.explain_model(f"randomised {share}", model)(scored.rows, scored.classes)
        other = relevance(scores, scored.by_magnitude)
        known = torch.isfinite(other).all(dim=1)
        alike.append(rank_correlation(own, other).where(known, torch.nan))
    return {RANDOMIZATION: torch.stack(alike, dim=1), "randomization": alike[-1]}


def _forward(scored: Scored) -> Callable[[Tensor], Tensor]:
    return lambda rows: scored.black_box.probabilities(rows).to(rows.dtype)


def _span(task: Task) -> Tensor:
    """What a feature ranges over: of images all of [0, 1]."""
    if task.kind == "image":
        return task.rows.new_ones(())
    return task.background.amax(dim=0) - task.background.amin(dim=0)


@dataclass(frozen=True)
class Measure:
    """What `--metrics` names.

    Args:
        metrics: the names of what it gives.
        apply: the function; None for what is measured of all explainers together.
        default: the kinds of rows it is measured on unless told.
        of_images: whether only images have it.
        of_modules: whether only torch modules with parameters have it.
        with_fill: whether it is measured for each fill.
    """

    metrics: tuple[str, ...]
    apply: Callable[..., Values]
    default: tuple[str, ...] = ()
    of_images: bool = False
    of_modules: bool = False
    with_fill: bool = False


_MASKING = (CURVE, "masking_area", "changed_30", "changed_50", "changed_70")
MEASURES = {
    "masking": Measure(
        (*_MASKING, INSERTION, "insertion_area"), measure_masking, default=("image",),
        of_images=True, with_fill=True,
    ),
    "deletion": Measure(
        (DELETION, "deletion_area"), measure_deletion, of_images=True, with_fill=True
    ),
    "sparseness": Measure(("sparseness",), measure_sparseness, default=("image", "tabular")),
    "faithfulness": Measure(("faithfulness",), measure_faithfulness, default=("tabular",)),
    "infidelity": Measure(("infidelity",), measure_infidelity),
    "max_sensitivity": Measure(("max_sensitivity",), measure_sensitivity),
    "randomization": Measure(
        (RANDOMIZATION, "randomization"), measure_randomization, of_modules=True
    ),
}  # fmt: skip
