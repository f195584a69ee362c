"""What metrics of attributions are given, and their base class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.masking import Fill
from xai_adapters.benchmark.metrics.metric import Kind, Metric
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.random_state import derived_seed

# Scores of rows (n, ...) and target classes (n,), shaped like the rows.
Explain = Callable[[Tensor, Tensor], Tensor]
# The same explainer made for another model. The name identifies the model; the explainer draws the
# same random numbers as for the original one.
ExplainModel = Callable[[str, Any], Explain]


@dataclass(frozen=True)
class Attributions:
    """An explainer's scores for a block of rows, and what is needed to judge them.

    Args:
        task: model and background.
        black_box: the model.
        rows: (n, ...) that were explained.
        classes: (n,) that the model predicts for them.
        scores: (n, ...) of their features.
        by_magnitude: whether a feature's relevance is its score's magnitude.
        explain: the explainer, for rows and classes.
        explain_model: the same explainer for another model.
        seed: of what is drawn.
        first: index of the first row in the task.
        fill: what masked pixels become; the task's own mask if None.
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
    fill: Fill | None = None
    _shared: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    @property
    def relevance(self) -> Tensor:
        """(n, d) relevance of the features; of images, of the pixels."""
        return relevance(self.scores, self.by_magnitude)

    @property
    def feature_range(self) -> Tensor:
        """Range of each feature in the background; 1 for images, which lie in [0, 1]."""
        if self.task.kind == "image":
            return self.task.rows.new_ones(())
        return self.task.background.amax(dim=0) - self.task.background.amin(dim=0)

    def probability(self, rows: Tensor, classes: Tensor) -> Tensor:
        """(m,) probabilities of classes (m,) for rows (m, ...)."""
        return self.black_box.probabilities(rows).gather(1, classes[:, None])[:, 0]

    def drawn(self, draw: Callable[..., Tensor], n: int) -> Tensor:
        """Random numbers for n copies of each row, independent of how rows are split in blocks.

        Args:
            draw: such as `torch.rand`.
            n: copies of each row; they follow one another.
        """
        shape = (n, *self.rows.shape[1:])
        parts = []
        for row in range(self.first, self.first + len(self.rows)):
            generator = torch.Generator().manual_seed(derived_seed(self.seed, row))
            parts.append(draw(shape, generator=generator))
        return torch.cat(parts).to(self.rows)


def relevance(scores: Tensor, by_magnitude: bool) -> Tensor:
    """(n, d) from scores (n, d) or (n, channels, height, width): pixels have one relevance."""
    sized = scores.abs() if by_magnitude else scores
    return sized.mean(dim=1).flatten(1) if scores.ndim == 4 else sized


def shared(compute: Callable[[Attributions], Tensor]) -> Callable[[Attributions], Tensor]:
    """Decorate a function whose result several metrics use: it is computed once a block."""

    @wraps(compute)
    def once(attributions: Attributions) -> Tensor:
        results = attributions._shared
        if compute.__qualname__ not in results:
            results[compute.__qualname__] = compute(attributions)
        return results[compute.__qualname__]

    return once


class AttributionMetric(Metric[Attributions]):
    """A metric of attributions; see `Metric` and `Facts` for the facts.

    Attributes:
        group: what `--metrics` calls it, if several metrics are measured together.
        default_on: the kinds of rows on which it is measured by default; leave it empty for metrics
            that cost much compared with explaining.
        needs_layers: whether the model must be a torch module with parameters.
        uses_mask: whether it is measured again with each of `--fills`.
    """

    takes = Attributions
    kind: Kind = "attribution"
    group: str = ""
    default_on: tuple[str, ...] = ()
    needs_layers: bool = False
    uses_mask: bool = False

    @property
    def selected_by(self) -> str:
        """The name that `--metrics` takes."""
        return self.group or self.name
