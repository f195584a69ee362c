"""A comparison of counterfactuals, of the same rows under the same constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import Explain, ExplainModel
from xai_adapters.benchmark.metrics.counterfactual_metric import Counterfactuals, ReferenceRows
from xai_adapters.benchmark.metrics.metric import COMMON, measured, registered_metrics
from xai_adapters.benchmark.results.recording import record_values
from xai_adapters.benchmark.results.results import Examples, ExplainerRun, Results
from xai_adapters.benchmark.run.bench import Bench, Explained
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.features.kinds import Categorical
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.registry import ExplainerEntry, Subject

# The explainer whose fit has to pay off.
OURS = "fimap_line_search"
_N_EXAMPLES = 20
# An explainer that mostly fails would leave no row on which all succeed.
_MIN_VALIDITY = 0.5


class CounterfactualBench(Bench):
    """A comparison of counterfactuals."""

    def __init__(self, task: Task, entries: Sequence[ExplainerEntry], seed: int) -> None:
        super().__init__(task, entries, seed)
        assert task.schema is not None
        labels = self.black_box.labels(task.background)
        self.reference = ReferenceRows(task.schema, task.background, labels)

    def subject(self, model: Any, seed: int) -> Subject:
        """What an explainer is made for, with the schema."""
        background = self.task.background.clone()
        return Subject(model, background, "tabular", None, seed, self.task.schema)

    def call(self, explainer: Any) -> Explain:
        """The call that returns changed rows."""
        call: Explain = explainer.counterfactuals
        return call

    def measure(
        self,
        entry: ExplainerEntry,
        explainer: Any,
        rows: slice,
        explanations: Tensor,
        explain_model: ExplainModel,
    ) -> dict[str, Tensor]:
        """The metrics of counterfactuals."""
        predict, predicted = self.black_box.labels, self.predicted[rows]
        counterfactuals = Counterfactuals(
            predicted, predict(explanations), self.reference, self.task.rows[rows], explanations,
            predict,
        )  # fmt: skip
        return dict(measured(counterfactuals, self.registered_metrics))

    def to_keep(self, entry: ExplainerEntry, explanations: Tensor) -> Tensor:
        """The changed rows."""
        return explanations

    def finish(self, results: Results, explained: Mapping[str, Explained]) -> None:
        """Add distances on the rows where all succeeded, examples, and when a fit pays off."""
        successful = {
            name: each.values
            for name, each in explained.items()
            if each.values["validity"].mean() >= _MIN_VALIDITY
        }
        n = min((len(values["validity"]) for values in successful.values()), default=0)
        common = torch.ones(n, dtype=torch.bool)
        for values in successful.values():
            common &= values["validity"][:n] == 1
        for name, values in successful.items():
            for metric in registered_metrics():
                if metric.compared_on_common_rows and metric.name in values:
                    of_common = values[metric.name][:n].masked_fill(~common, torch.nan)
                    record_values(results, name, metric.name + COMMON, of_common, seed=self.seed)
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
            rows_as_text(schema, self.task.rows[:n]),
        )
        for name, each in explained.items():
            changed = each.explanations[0][:n].to(self.task.rows)
            if len(changed) == n:
                examples.after[name] = rows_as_text(schema, changed)
                labels = self.black_box.labels(changed).tolist()
                examples.target_classes[name] = [names[label] for label in labels]
        return examples


def rows_as_text(schema: FeatureSchema, rows: Tensor) -> list[list[str]]:
    """Model rows (n, d) as text: for each row the value of each feature.

    Example:
        >>> rows_as_text(FeatureSchema.all_continuous(2), torch.tensor([[1.25, -3.0]]))
        [['1.25', '-3']]
    """
    texts = []
    for feature in schema.features:
        if isinstance(feature, Categorical):
            columns = rows[:, list(feature.columns)]
            codes = columns.argmax(dim=1) if feature.one_hot else columns[:, 0].long()
            texts.append([str(feature.categories[code]) for code in codes.tolist()])
        else:
            texts.append([f"{value:.4g}" for value in rows[:, feature.column].tolist()])
    return [list(row) for row in zip(*texts, strict=True)]


def break_even(ours: ExplainerRun, other: ExplainerRun) -> float:
    """Number of rows from which on our fit and explanations take less time; infinity for never."""
    gain = (other.seconds_per_row or 0.0) - (ours.seconds_per_row or 0.0)
    extra_fit = ours.fit_seconds - other.fit_seconds
    if gain <= 0:
        return 0.0 if extra_fit < 0 else float("inf")
    return max(0.0, extra_fit / gain)
