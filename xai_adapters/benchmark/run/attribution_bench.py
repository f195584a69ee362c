"""A comparison of attributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

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
from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.benchmark.results.recording import record_values
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.registry import CounterfactualExplainer, ExplainerEntry, Subject

_GALLERY_ROWS = {"image": 100, "tabular": 200}


class AttributionBench(Bench):
    """A comparison of attributions.

    Args:
        selection: the metrics to measure.
    """

    def __init__(
        self, task: Task, entries: Sequence[ExplainerEntry], seed: int, selection: MetricSelection
    ) -> None:
        super().__init__(task, entries, seed)
        self.selection = selection

    def subject(self, model: Any, seed: int) -> Subject:
        """What an explainer is made for, with the value of masked pixels."""
        fill = self.task.mask_value if self.task.kind == "image" else None
        return Subject(model, self.task.background.clone(), self.task.kind, fill, seed)

    def call(self, explainer: Any) -> Explain:
        """The call that returns scores."""
        call: Explain = explainer.explain
        return call

    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        explanations: Tensor,
        explain_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """The selected metrics, and for explainers that perturb rows what they achieve by it."""
        inputs, predicted = self.task.rows[rows].clone(), self.predicted[rows]
        attributions = Attributions(
            self.task, self.black_box, inputs, predicted, explanations,
            entry.rank_by == "magnitude", self.call(explainer), explain_model, self.seed,
            rows.start,
        )  # fmt: skip
        values = self.selection.measure(attributions)
        if isinstance(explainer, CounterfactualExplainer):
            perturbation = explainer.perturb(inputs, predicted)
            after = self.black_box.labels(perturbation.perturbed.view_as(inputs))
            values |= measured(
                Perturbations(predicted, after, perturbation), self.registered_metrics
            )
        return values

    def metrics(self) -> dict[str, Facts]:
        """Facts on the metrics that may have values."""
        return metric_facts() | self.selection.facts()

    def to_keep(self, entry: ExplainerEntry, explanations: Tensor) -> Tensor:
        """The relevance of each pixel, or the score of each column."""
        if self.task.kind == "tabular":
            return explanations
        n, _, *size = explanations.shape
        return relevance(explanations, entry.rank_by == "magnitude").view(n, *size)

    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Compare the scores of explainers and of seeds, and keep some of them."""
        scores = {name: each.explanations[0] for name, each in explained.items()}
        of_each = {
            name: dict(
                measured(
                    Explanations(self.task, name, each.explanations, scores),
                    self.registered_metrics,
                )
            )
            for name, each in explained.items()
        }
        for metric in metric_facts():
            for name, values in of_each.items():
                if metric in values:
                    record_values(results, name, metric, values[metric], seed=self.seed)
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
        n = min(len(self.task.rows), _GALLERY_ROWS[self.task.kind])
        rows = self.task.rows[:n].cpu().clone()
        if self.task.kind == "image":
            rows = (rows * 255).round() / 255
        gallery = Gallery(rows, self._titles(n))
        for name, maps in scores.items():
            # An explainer that ran out of time may have too few.
            if len(maps) >= n:
                gallery.add(name, maps[:n])
        return gallery

    def _titles(self, n_rows: int) -> list[str]:
        names = [self.task.class_names[label] for label in self.predicted[:n_rows].tolist()]
        if self.task.kind == "tabular":
            return names
        largest = self.probabilities[:n_rows].amax(dim=1).tolist()
        return [f"{name} ({p:.0%})" for name, p in zip(names, largest, strict=True)]
