"""Comparing counterfactuals: the same rows, constraints and black box for all, and what each cost.

What is measured of a row is the mean over the seeds that explainers are made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import Explain, ExplainModel
from xai_adapters.benchmark.metrics.counterfactual_metric import Counterfactuals, ReferenceRows
from xai_adapters.benchmark.metrics.metric import COMMON, measured, registered_metrics
from xai_adapters.benchmark.results.results import Examples, ExplainerRun, Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.features.kinds import Categorical
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.registry import ExplainerEntry, Subject

# Whose fit has to pay: the break-even is against it.
OURS = "fimap_line_search"
_N_EXAMPLES = 20
# An explainer that mostly fails would leave no row that is valid for all.
_LEAST_VALIDITY = 0.5


class CounterfactualBench(Bench):
    """A comparison of counterfactuals."""

    def __init__(self, task: Task, entries: Sequence[ExplainerEntry], seed: int) -> None:
        super().__init__(task, entries, seed)
        assert task.schema is not None
        labels = self.black_box.labels(task.background)
        self.reference = ReferenceRows(task.schema, task.background, labels)

    def subject(self, model: Any, seed: int) -> Subject:
        """What explainers are made for, with the schema."""
        return Subject(model, self.task.background, "tabular", None, seed, self.task.schema)

    def call(self, explainer: Any) -> Explain:
        """The call for changed rows."""
        call: Explain = explainer.counterfactuals
        return call

    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        answer: Tensor,
        ask_of_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """How good the changed rows are."""
        asked, predicted = self.task.rows[rows], self.predicted[rows]
        predict = self.black_box.labels
        return dict(
            measured(
                Counterfactuals(predicted, predict(answer), self.reference, asked, answer, predict)
            )
        )

    def kept(self, entry: ExplainerEntry, answer: Tensor) -> Tensor:
        """The changed rows."""
        return answer

    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Measure distances again where every explainer succeeded, and when fitting has paid."""
        able = {
            name: each.values
            for name, each in explained.items()
            if each.values["validity"].mean() >= _LEAST_VALIDITY
        }
        n = min((len(values["validity"]) for values in able.values()), default=0)
        common = torch.ones(n, dtype=torch.bool)
        for values in able.values():
            common &= values["validity"][:n] == 1
        for name, values in able.items():
            for metric in registered_metrics():
                if metric.compared_on_common_rows and metric.name in values:
                    of_common = values[metric.name][:n].masked_fill(~common, torch.nan)
                    self.record(results, name, metric.name + COMMON, of_common)
        results.examples = self._examples(explained)
        runs = {run.name: run for run in results.explainers if run.status == "ok"}
        if OURS in runs:
            for name, run in runs.items():
                if name != OURS:
                    run.costs["break_even_rows"] = break_even(runs[OURS], run)

    def _examples(self, explained: Mapping[str, Explained]) -> Examples:
        schema, names = self.reference.schema, self.task.class_names
        n = min(_N_EXAMPLES, len(self.task.rows))
        examples = Examples(
            [feature.name for feature in schema.features],
            [names[label] for label in self.predicted[:n].tolist()],
            read_aloud(schema, self.task.rows[:n]),
        )
        for name, each in explained.items():
            changed = each.explanations[0][:n].to(self.task.rows)
            if len(changed) == n:
                examples.after[name] = read_aloud(schema, changed)
                labels = self.black_box.labels(changed).tolist()
                examples.target_classes[name] = [names[label] for label in labels]
        return examples


def read_aloud(schema: FeatureSchema, rows: Tensor) -> list[list[str]]:
    """Model rows (n, d) as people read them: for each row the text of each feature.

    Example:
        >>> read_aloud(FeatureSchema.all_continuous(2), torch.tensor([[1.25, -3.0]]))
        [['1.25', '-3']]
    """
    texts = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            held = rows[:, list(feature.columns)]
            codes = held.argmax(dim=1) if feature.one_hot else held[:, 0].long()
            texts.append([str(feature.categories[code]) for code in codes.tolist()])
        else:
            texts.append([f"{value:.4g}" for value in rows[:, feature.column].tolist()])
    return [list(row) for row in zip(*texts, strict=True)]


def break_even(ours: ExplainerRun, other: ExplainerRun) -> float:
    """From how many rows on fitting and explaining takes ours less time; infinity for never."""
    gain = (other.seconds_per_row or 0.0) - (ours.seconds_per_row or 0.0)
    owed = ours.fit_seconds - other.fit_seconds
    if gain <= 0:
        return 0.0 if owed < 0 else float("inf")
    return max(0.0, owed / gain)
