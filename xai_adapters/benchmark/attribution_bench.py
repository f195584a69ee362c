"""Comparing attributions: masking curves on images, agreement and validity on tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from xai_adapters.benchmark.bench import Ask, Bench, Explained, model_batch
from xai_adapters.benchmark.masking_curve import changed_decisions, relevance_ranks
from xai_adapters.benchmark.metrics import (
    CURVE,
    cosine,
    counterfactual_metrics,
    masking_metrics,
)
from xai_adapters.benchmark.results import Gallery, Results
from xai_adapters.registry import CounterfactualExplainer, ExplainerEntry, Subject

LIME = "lime_tabular"
_GALLERY_ROWS = {"image": 8, "tabular": 200}


class AttributionBench(Bench):
    """A comparison of attributions."""

    def subject(self, model: Any, seed: int) -> Subject:
        """What explainers are made for; those with the mask's baseline are told its value."""
        fill = self.task.mask_value if self.task.kind == "image" else None
        return Subject(model, self.task.background, self.task.kind, fill, seed)

    def ask(self, explainer: Any) -> Ask:
        """The call for scores."""
        ask: Ask = explainer.explain
        return ask

    def measure(
        self, entry: ExplainerEntry, explainer: Any, rows: slice, answer: Tensor
    ) -> dict[str, Tensor]:
        """Masking curves of images; what those that perturb rows achieve by it."""
        measured: dict[str, Tensor] = {}
        asked, predicted = self.task.rows[rows], self.predicted[rows]
        if self.task.kind == "image":
            by_magnitude = entry.rank_by == "magnitude"
            ranks = relevance_ranks(answer, by_magnitude=by_magnitude, seed=self.seed)
            changed = changed_decisions(
                self.black_box.labels, asked, ranks,
                fill=self.task.mask_value, batch_size=model_batch(self.task), original=predicted,
            )  # fmt: skip
            measured |= {CURVE: changed.double(), **masking_metrics(changed)}
        if isinstance(explainer, CounterfactualExplainer):
            found = explainer.perturb(asked, predicted)
            after = self.black_box.labels(found.perturbed.view_as(asked))
            measured |= counterfactual_metrics(found, predicted, after)
        return measured

    def kept(self, entry: ExplainerEntry, answer: Tensor) -> Tensor:
        """The relevance of each pixel, or of each column."""
        if self.task.kind == "tabular":
            return answer
        return (answer.abs() if entry.rank_by == "magnitude" else answer).mean(dim=1)

    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Compare scores with LIME's, and keep a few maps."""
        scores = {name: each.explanations[0] for name, each in explained.items()}
        if self.task.kind == "tabular" and LIME in scores:
            lime = scores[LIME]
            for name, own in scores.items():
                n = min(len(own), len(lime))
                if name != LIME:
                    self.record(results, name, "cosine_to_lime", cosine(own[:n], lime[:n]))
        results.gallery = self._gallery(scores)

    def _gallery(self, scores: Mapping[str, Tensor]) -> Gallery | None:
        if not scores:
            return None
        wanted = min(len(self.task.rows), _GALLERY_ROWS[self.task.kind])
        gallery = Gallery(self.task.rows[:wanted].cpu(), self._titles(wanted))
        for name, maps in scores.items():
            # One that ran out of time has nothing to show for some of the rows.
            if len(maps) >= wanted:
                gallery.maps[name] = maps[:wanted]
                gallery.signed[name] = bool((maps[:wanted] < 0).any())
        return gallery

    def _titles(self, n_rows: int) -> list[str]:
        names = [self.task.class_names[label] for label in self.predicted[:n_rows].tolist()]
        if self.task.kind == "tabular":
            return names
        sure = self.probabilities[:n_rows].amax(dim=1).tolist()
        return [f"{name} ({share:.0%})" for name, share in zip(names, sure, strict=True)]
