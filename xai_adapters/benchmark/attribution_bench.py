"""Comparing attributions: masking curves on images, agreement and validity on tables."""

from __future__ import annotations

import copy
import time
from typing import Any

from torch import Tensor

from xai_adapters.benchmark.bench import Bench, cell, model_batch, wait
from xai_adapters.benchmark.masking_curve import THRESHOLDS, changed_decisions, relevance_ranks
from xai_adapters.benchmark.metrics import (
    CURVE,
    cosine,
    counterfactual_metrics,
    masking_metrics,
)
from xai_adapters.benchmark.results import Curve, ExplainerRun, Gallery
from xai_adapters.benchmark.statistics import bootstrap_interval
from xai_adapters.core.minimal_perturbation import Perturbation
from xai_adapters.registry import CounterfactualExplainer, Explainer, ExplainerEntry, Subject

LIME = "lime_tabular"
_GALLERY_ROWS = {"image": 8, "tabular": 200}


class AttributionBench(Bench):
    """A comparison of attributions: the scores so far, and what was measured of them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.scores: dict[str, Tensor] = {}
        self.entries: dict[str, ExplainerEntry] = {}

    def explain(
        self, entry: ExplainerEntry, run: ExplainerRun
    ) -> tuple[Tensor, Perturbation | None]:
        """Scores of the rows' features, and the perturbations of those who have some."""
        task = self.task
        subject = Subject(
            # A copy: a method that fails may leave its hooks behind.
            model=copy.deepcopy(task.model),
            background=task.background,
            kind=task.kind,
            fill=task.mask_value if task.kind == "image" else None,
            seed=self.seed,
        )
        make = entry.load()
        start = time.perf_counter()
        explainer: Explainer = make(subject)
        wait(task.rows)
        run.fit_seconds = time.perf_counter() - start
        scores = self.in_blocks(entry, run, explainer.explain)
        return scores, self._perturbation(explainer, run.n_rows)

    def measure(self, entry: ExplainerEntry, explained: tuple[Tensor, Perturbation | None]) -> None:
        """Measure one explainer on its own."""
        scores, perturbation = explained
        self.scores[entry.name], self.entries[entry.name] = scores, entry
        if self.task.kind == "image":
            self._measure_masking(entry, scores)
        if perturbation is not None:
            self._measure_perturbation(entry, perturbation)

    def finish(self) -> None:
        """Measure what needs more than one explainer, and keep a few rows to look at."""
        if self.task.kind == "tabular" and LIME in self.scores:
            lime = self.scores[LIME]
            for name, scores in self.scores.items():
                n = min(len(scores), len(lime))
                if name != LIME:
                    self.record(name, "cosine_to_lime", cosine(scores[:n], lime[:n]))
        self.results.gallery = self._gallery()

    def _perturbation(self, explainer: Explainer, n_rows: int) -> Perturbation | None:
        if not isinstance(explainer, CounterfactualExplainer):
            return None
        return explainer.perturb(self.task.rows[:n_rows], self.predicted[:n_rows])

    def _measure_masking(self, entry: ExplainerEntry, scores: Tensor) -> None:
        images = self.task.rows[: len(scores)]
        ranks = relevance_ranks(scores, by_magnitude=entry.rank_by == "magnitude", seed=self.seed)
        changed = changed_decisions(
            self.black_box.labels, images, ranks,
            fill=self.task.mask_value, batch_size=model_batch(self.task),
        ).cpu()  # fmt: skip
        values = changed.double().numpy()
        low, high = bootstrap_interval(values, seed=self.seed)
        self.results.curves.append(
            Curve(
                entry.name,
                CURVE,
                list(THRESHOLDS),
                values.mean(axis=0).tolist(),
                low.tolist(),
                high.tolist(),
            )
        )
        for row, flags in enumerate(values.tolist()):
            self.results.rows += [
                cell(entry.name, CURVE, row, flag, threshold)
                for threshold, flag in zip(THRESHOLDS, flags, strict=True)
            ]
        for metric, of_rows in masking_metrics(changed).items():
            self.record(entry.name, metric, of_rows)

    def _measure_perturbation(self, entry: ExplainerEntry, found: Perturbation) -> None:
        perturbed = found.perturbed.view(-1, *self.task.rows.shape[1:])
        before, after = self.predicted[: len(perturbed)], self.black_box.labels(perturbed)
        for metric, values in counterfactual_metrics(found, before, after).items():
            self.record(entry.name, metric, values)

    def _gallery(self) -> Gallery | None:
        if not self.scores:
            return None
        wanted = min(len(self.task.rows), _GALLERY_ROWS[self.task.kind])
        gallery = Gallery(self.task.rows[:wanted].cpu(), self._titles(wanted))
        for name, scores in self.scores.items():
            # One that ran out of time has nothing to show for some of the rows.
            if len(scores) >= wanted:
                by_magnitude = self.entries[name].rank_by == "magnitude"
                gallery.maps[name] = self._map(scores[:wanted], by_magnitude)
                gallery.signed[name] = bool((gallery.maps[name] < 0).any())
        return gallery

    def _map(self, scores: Tensor, by_magnitude: bool) -> Tensor:
        if self.task.kind == "tabular":
            return scores.cpu()
        return (scores.abs() if by_magnitude else scores).mean(dim=1).cpu()

    def _titles(self, n_rows: int) -> list[str]:
        names = [self.task.class_names[label] for label in self.predicted[:n_rows].tolist()]
        if self.task.kind == "tabular":
            return names
        sure = self.probabilities[:n_rows].amax(dim=1).tolist()
        return [f"{name} ({share:.0%})" for name, share in zip(names, sure, strict=True)]
