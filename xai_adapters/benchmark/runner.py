"""Run explainers on a task and measure what they say."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.environment import environment
from xai_adapters.benchmark.masking_curve import (
    THRESHOLDS,
    changed_decisions,
    relevance_ranks,
)
from xai_adapters.benchmark.metrics import (
    CURVE,
    METRICS,
    cosine,
    counterfactual_metrics,
    masking_metrics,
)
from xai_adapters.benchmark.results import (
    Curve,
    ExplainerRun,
    Gallery,
    Measurement,
    Results,
)
from xai_adapters.benchmark.statistics import bootstrap_interval, standard_error
from xai_adapters.benchmark.task import Task
from xai_adapters.core.black_box import BlackBox
from xai_adapters.core.minimal_perturbation import Perturbation
from xai_adapters.core.model_state import kept_random_state
from xai_adapters.errors import (
    InvalidInputError,
    MissingDependencyError,
    NotApplicableError,
    PredictorError,
    require,
)
from xai_adapters.registry import (
    CounterfactualExplainer,
    Explainer,
    ExplainerEntry,
    Subject,
    explainer_entry,
    explainer_names,
)

LIME = "lime_tabular"
_GALLERY_ROWS = {"image": 8, "tabular": 200}


def run_benchmark(
    task: Task,
    explainers: Sequence[str] | None = None,
    *,
    seed: int = 0,
    time_limit: float = 300.0,
    show_progress: bool = False,
) -> Results:
    """Let explainers explain a task's rows, and measure them.

    Each explainer gets a copy of the model and a random state of its own, and explains the class
    that the model gives each row. One that raises is recorded with its error, and the others go on.

    Args:
        task: model and rows.
        explainers: registered names; all by default.
        seed: of the explainers and of the order among ties.
        time_limit: seconds after which an explainer gets no further block of rows; it is measured
            on the rows it finished.
        show_progress: show bars on standard error.

    Raises:
        UnknownNameError: for an explainer that is not registered, before any work is done.
        InvalidInputError: for no explainers, or a time limit that is not positive.
    """
    entries = check_request(explainers, time_limit)
    black_box = BlackBox(task.model, batch_size=_model_batch(task))
    probabilities = black_box.probabilities(task.rows)
    results = Results(
        task={
            "name": task.name,
            "description": task.description,
            "kind": task.kind,
            "n_rows": len(task.rows),
            "row_shape": list(task.rows.shape[1:]),
            "mask_value": task.mask_value,
            "feature_names": list(task.feature_names),
            "data_hash": task.data_hash(),
            "facts": dict(task.facts),
        },
        settings={
            "explainers": [entry.name for entry in entries],
            "seed": seed,
            "time_limit": time_limit,
            "device": str(task.rows.device),
        },
        environment=environment(),
        metrics={name: dataclasses.asdict(metric) for name, metric in METRICS.items()},
    )
    bench = _Bench(task, black_box, probabilities, results, seed, time_limit, show_progress)
    for entry in entries:
        bench.run(entry)
    bench.finish()
    return results


def check_request(explainers: Sequence[str] | None, time_limit: float) -> list[ExplainerEntry]:
    """The explainers asked for, each once; raises what `run_benchmark` would."""
    names = explainer_names("attribution") if explainers is None else explainers
    entries = [explainer_entry(name) for name in dict.fromkeys(names)]
    if not entries:
        raise InvalidInputError("no explainers were named; leave them out to compare all")
    if time_limit <= 0:
        raise InvalidInputError(f"the time limit must be positive; it is {time_limit} seconds")
    return entries


class _Bench:
    """A run in progress: the scores so far, and the results they were measured into."""

    def __init__(
        self,
        task: Task,
        black_box: BlackBox,
        probabilities: Tensor,
        results: Results,
        seed: int,
        time_limit: float,
        show_progress: bool,
    ) -> None:
        self.task, self.black_box, self.results = task, black_box, results
        self.probabilities, self.predicted = probabilities, probabilities.argmax(dim=1)
        self.seed, self.time_limit, self.show_progress = seed, time_limit, show_progress
        self.scores: dict[str, Tensor] = {}
        self.entries: dict[str, ExplainerEntry] = {}

    def run(self, entry: ExplainerEntry) -> None:
        """Make, fit and ask one explainer; measure what came back."""
        run = ExplainerRun(
            entry.name,
            entry.summary,
            entry.baseline,
            "ok",
            settings={"rank_by": entry.rank_by, "block_size": entry.block_size},
            matches_mask=_matches_mask(entry, self.task),
        )
        self.results.explainers.append(run)
        try:
            with _random_state(self.seed, self.task.rows.device), warnings.catch_warnings():
                # Hosts warn about what they do to a model; this one is a copy.
                warnings.simplefilter("ignore")
                scores, perturbation = self._explain(entry, run)
        except (NotApplicableError, MissingDependencyError) as reason:
            run.status, run.reason = "not applicable", str(reason)
            return
        except Exception as error:
            # Whatever a foreign explainer raises, the others are still to be compared.
            run.status, run.reason = "error", _one_line(error)
            return
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
                    self._record(name, "cosine_to_lime", cosine(scores[:n], lime[:n]))
        self.results.gallery = self._gallery()

    def _explain(
        self, entry: ExplainerEntry, run: ExplainerRun
    ) -> tuple[Tensor, Perturbation | None]:
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
        explainer = make(subject)
        _wait(task.rows)
        run.fit_seconds = time.perf_counter() - start
        block_size = entry.block_size or len(task.rows)
        found: list[Tensor] = []
        with self._bar(entry.name) as bar:
            for rows, target in zip(
                task.rows.split(block_size), self.predicted.split(block_size), strict=True
            ):
                if run.explain_seconds > self.time_limit:
                    run.reason = (
                        f"stopped after {self.time_limit:g} s with {run.n_rows} of "
                        f"{len(task.rows)} rows explained"
                    )
                    break
                start = time.perf_counter()
                scores = explainer.explain(rows, target)
                _wait(rows)
                run.explain_seconds += time.perf_counter() - start
                found.append(_checked(scores, rows, run.n_rows))
                run.n_rows += len(rows)
                bar.update(len(rows))
        return torch.cat(found), self._perturbation(explainer, run.n_rows)

    def _perturbation(self, explainer: Explainer, n_rows: int) -> Perturbation | None:
        if not isinstance(explainer, CounterfactualExplainer):
            return None
        return explainer.perturb(self.task.rows[:n_rows], self.predicted[:n_rows])

    def _measure_masking(self, entry: ExplainerEntry, scores: Tensor) -> None:
        images = self.task.rows[: len(scores)]
        ranks = relevance_ranks(scores, by_magnitude=entry.rank_by == "magnitude", seed=self.seed)
        changed = changed_decisions(
            self.black_box.labels, images, ranks,
            fill=self.task.mask_value, batch_size=_model_batch(self.task),
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
                _cell(entry.name, CURVE, row, flag, threshold)
                for threshold, flag in zip(THRESHOLDS, flags, strict=True)
            ]
        for metric, of_rows in masking_metrics(changed).items():
            self._record(entry.name, metric, of_rows)

    def _measure_perturbation(self, entry: ExplainerEntry, found: Perturbation) -> None:
        perturbed = found.perturbed.view(-1, *self.task.rows.shape[1:])
        before, after = self.predicted[: len(perturbed)], self.black_box.labels(perturbed)
        for metric, values in counterfactual_metrics(found, before, after).items():
            self._record(entry.name, metric, values)

    def _record(self, explainer: str, metric: str, values: Tensor) -> None:
        of_rows = values.double().cpu().numpy()
        low, high = bootstrap_interval(of_rows, seed=self.seed)
        self.results.measurements.append(
            Measurement(
                explainer,
                metric,
                float(of_rows.mean()),
                standard_error(of_rows),
                float(low),
                float(high),
                len(of_rows),
            )
        )
        self.results.rows += [
            _cell(explainer, metric, row, value) for row, value in enumerate(of_rows.tolist())
        ]

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

    @contextmanager
    def _bar(self, name: str) -> Iterator[Any]:
        tqdm = require("tqdm", "benchmark").tqdm
        with tqdm(
            total=len(self.task.rows), desc=name, unit="row", disable=not self.show_progress,
            leave=False,
        ) as bar:  # fmt: skip
            yield bar


def _model_batch(task: Task) -> int:
    """Rows the model can be asked at once within a few hundred megabytes."""
    return max(16, 10_000_000 // task.rows[0].numel())


def _matches_mask(entry: ExplainerEntry, task: Task) -> bool | None:
    if task.kind != "image" or entry.baseline in ("none", "data"):
        return None
    return entry.baseline == "mask" or (entry.baseline == "black" and task.mask_value == 0)


def _checked(scores: Tensor, rows: Tensor, first: int) -> Tensor:
    if scores.shape != rows.shape:
        raise PredictorError(
            f"scores of shape {tuple(scores.shape)} for rows of shape {tuple(rows.shape)}"
        )
    bad = ~torch.isfinite(scores.flatten(1)).all(dim=1)
    if bad.any():
        raise PredictorError(f"scores of row {first + int(bad.nonzero()[0])} are not finite")
    return scores.detach()


def _cell(
    explainer: str, metric: str, row: int, value: float, threshold: float | None = None
) -> dict[str, Any]:
    return {
        "explainer": explainer,
        "metric": metric,
        "row": row,
        "threshold": threshold,
        "value": value,
    }


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _wait(rows: Tensor) -> None:
    """Let an accelerator finish, so that its seconds are counted where they belong."""
    if rows.device.type != "cpu":
        torch.accelerator.synchronize(rows.device)


@contextmanager
def _random_state(seed: int, device: torch.device) -> Iterator[None]:
    """A seeded random state for torch and numpy, and the caller's own afterwards."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - shap and lime draw from the global state
    with kept_random_state(device):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
