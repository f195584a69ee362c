"""Comparing attributions: masking curves on images, agreement and validity on tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from xai_adapters.benchmark.metrics.agreement import agreements
from xai_adapters.benchmark.metrics.attribution_metric import (
    Attributions,
    Explain,
    ExplainModel,
    relevance,
)
from xai_adapters.benchmark.metrics.comparison_metric import Explanations
from xai_adapters.benchmark.metrics.metric import Facts, measured, metric_facts
from xai_adapters.benchmark.metrics.selection import MetricSelection
from xai_adapters.benchmark.metrics.validity import Perturbations
from xai_adapters.benchmark.results.results import Gallery, Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.registry import CounterfactualExplainer, ExplainerEntry, Subject

LIME = "lime_tabular"
_GALLERY_ROWS = {"image": 100, "tabular": 200}
# Maps of photographs are shown in as many steps as can be told apart, which keeps a report small.
MAP_SIDE = 48


class AttributionBench(Bench):
    """A comparison of attributions.

    Args:
        selection: what is measured of each.
    """

    def __init__(
        self, task: Task, entries: Sequence[ExplainerEntry], seed: int, selection: MetricSelection
    ) -> None:
        super().__init__(task, entries, seed)
        self.selection = selection

    def subject(self, model: Any, seed: int) -> Subject:
        """What explainers are made for; those with the mask's baseline are told its value."""
        fill = self.task.mask_value if self.task.kind == "image" else None
        return Subject(model, self.task.background, self.task.kind, fill, seed)

    def call(self, explainer: Any) -> Explain:
        """The call for scores."""
        call: Explain = explainer.explain
        return call

    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        answer: Tensor,
        ask_of_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """What was asked for; and what those that perturb rows achieve by it."""
        asked, predicted = self.task.rows[rows], self.predicted[rows]
        attributions = Attributions(
            self.task, self.black_box, asked, predicted, answer, entry.rank_by == "magnitude",
            self.call(explainer), ask_of_model, self.seed, rows.start,
        )  # fmt: skip
        values = self.selection.measure(attributions)
        if isinstance(explainer, CounterfactualExplainer):
            found = explainer.perturb(asked, predicted)
            after = self.black_box.labels(found.perturbed.view_as(asked))
            values |= measured(Perturbations(predicted, after, found))
        return values

    def metrics(self) -> dict[str, Facts]:
        """Facts on the metrics there may be values of."""
        return metric_facts() | self.selection.facts()

    def kept(self, entry: ExplainerEntry, answer: Tensor) -> Tensor:
        """The relevance of each pixel, or the score of each column."""
        if self.task.kind == "tabular":
            return answer
        return relevance(answer, entry.rank_by == "magnitude").view(len(answer), *answer.shape[2:])

    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Compare scores with one another and with LIME's, and keep a few maps."""
        scores = {name: each.explanations[0] for name, each in explained.items()}
        of_each = {
            name: dict(measured(Explanations(self.task, name, each.explanations, scores)))
            for name, each in explained.items()
        }
        for metric in metric_facts():
            for name, values in of_each.items():
                if metric in values:
                    self.record(results, name, metric, values[metric])
        relevances = {
            name: relevance(own, self.entries[name].rank_by == "magnitude").flatten(1)
            for name, own in scores.items()
        }
        flat_scores = {name: own.flatten(1) for name, own in scores.items()}
        results.agreement = agreements(flat_scores, relevances)
        results.gallery = self._gallery(scores)

    def _gallery(self, scores: Mapping[str, Tensor]) -> Gallery | None:
        if not scores:
            return None
        wanted = min(len(self.task.rows), _GALLERY_ROWS[self.task.kind])
        rows = self.task.rows[:wanted].cpu()
        if self.task.kind == "image":
            rows = (rows * 255).round() / 255
        gallery = Gallery(rows, self._titles(wanted))
        for name, maps in scores.items():
            # One that ran out of time has nothing to show for some of the rows.
            if len(maps) >= wanted:
                gallery.maps[name] = _shown(maps[:wanted])
                gallery.signed[name] = bool((maps[:wanted] < 0).any())
        return gallery

    def _titles(self, n_rows: int) -> list[str]:
        names = [self.task.class_names[label] for label in self.predicted[:n_rows].tolist()]
        if self.task.kind == "tabular":
            return names
        sure = self.probabilities[:n_rows].amax(dim=1).tolist()
        return [f"{name} ({share:.0%})" for name, share in zip(names, sure, strict=True)]


def _shown(maps: Tensor) -> Tensor:
    """Maps (n, height, width) of photographs in fewer pixels; others as they are."""
    if maps.ndim < 3 or max(maps.shape[1:]) <= 2 * MAP_SIDE:
        return maps
    return adaptive_avg_pool2d(maps[:, None], MAP_SIDE)[:, 0]
