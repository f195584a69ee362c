"""The metrics of attributions that a run selects with `--metrics` and `--fills`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import AttributionMetric, Attributions
from xai_adapters.benchmark.metrics.masking import FILLS, VALUES, Fill
from xai_adapters.benchmark.metrics.metric import Facts, registered_metrics
from xai_adapters.benchmark.metrics.quantus import QUANTUS, QuantusMetric
from xai_adapters.benchmark.metrics.randomization import layers
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, UnknownNameError, XaiAdaptersError


class MetricError(XaiAdaptersError, RuntimeError):
    """A metric could not be computed; the message says which one and why."""


def attribution_metrics() -> list[AttributionMetric]:
    """The registered metrics of attributions."""
    return [each for each in registered_metrics() if isinstance(each, AttributionMetric)]


def metrics_named(name: str) -> list[AttributionMetric]:
    """The metrics that a name of `--metrics` selects.

    Raises:
        UnknownNameError: if there is none.
        MissingDependencyError: if the library of the metric is not installed.
    """
    if name.startswith(QUANTUS):
        return [QuantusMetric(name)]
    known = attribution_metrics()
    selected = [metric for metric in known if metric.selected_by == name]
    if not selected:
        names = dict.fromkeys(metric.selected_by for metric in known)
        raise UnknownNameError("metric", name, [*names, f"{QUANTUS}NAME"])
    return selected


def check_names(names: Iterable[str], fills: Iterable[str]) -> None:
    """Check that metrics and fills exist.

    Raises:
        UnknownNameError: for one that does not exist.
        MissingDependencyError: for one of a library that is not installed.
    """
    for name in names:
        metrics_named(name)
    for fill in fills:
        if fill not in FILLS:
            raise UnknownNameError("fill", fill, FILLS)


class MetricSelection:
    """The metrics of attributions that a run computes.

    Args:
        names: as `--metrics` takes them; by default the metrics that cost little on such a task.
        fills: what masked pixels become, beside the task's own mask.
        task: what explainers are compared on.

    Raises:
        InvalidInputError: for a metric that does not apply to the task.
    """

    def __init__(self, names: Sequence[str] | None, fills: Iterable[str], task: Task) -> None:
        if names is None:
            default = [each for each in attribution_metrics() if task.kind in each.default_on]
            names = [metric.selected_by for metric in default]
        self.names = list(dict.fromkeys(names))
        self.metrics = [metric for name in self.names for metric in metrics_named(name)]
        # A fill that equals the task's own mask would be measured twice.
        self.fills = [
            cast(Fill, fill) for fill in dict.fromkeys(fills) if VALUES.get(fill) != task.mask_value
        ]
        if not (task.differentiable and layers(task.model)):
            self._refuse(
                [metric for metric in self.metrics if metric.needs_layers],
                "torch modules with parameters",
            )
        if task.kind != "image":
            self._refuse([metric for metric in self.metrics if metric.kind == "image"], "images")

    @staticmethod
    def _refuse(metrics: list[AttributionMetric], needed: str) -> None:
        if metrics:
            names = ", ".join(dict.fromkeys(metric.selected_by for metric in metrics))
            raise InvalidInputError(f"{names}: needs {needed}")

    @property
    def _filled(self) -> list[AttributionMetric]:
        return [metric for metric in self.metrics if metric.uses_mask]

    def facts(self) -> dict[str, Facts]:
        """Facts about metrics that are not registered: with other fills, or of Quantus."""
        facts = {
            _with_fill(metric.name, fill): replace(
                metric.facts,
                title=f"{metric.title}, {fill}",
                description=f"{metric.facts.description} Masked pixels are {FILLS[fill]}.",
                fill=fill,
            )
            for fill in self.fills
            for metric in self._filled
        }
        of_quantus = [metric for metric in self.metrics if isinstance(metric, QuantusMetric)]
        return facts | {metric.name: metric.facts for metric in of_quantus}

    def measure(self, attributions: Attributions) -> dict[str, Tensor]:
        """Values (n, ...) by metric.

        Raises:
            MetricError: if a metric cannot be computed.
        """
        filled = {fill: replace(attributions, fill=fill) for fill in self.fills}
        values: dict[str, Tensor] = {}
        for metric in self.metrics:
            values |= _computed(metric.name, metric, attributions)
            if metric.uses_mask:
                for fill, given in filled.items():
                    values |= _computed(_with_fill(metric.name, fill), metric, given)
        return values


def _with_fill(name: str, fill: str) -> str:
    return f"{name}[{fill}]"


def _computed(
    name: str, metric: AttributionMetric, attributions: Attributions
) -> dict[str, Tensor]:
    try:
        values = metric.compute(attributions)
    except Exception as error:
        raise MetricError(f"{name}: {type(error).__name__}: {error}") from error
    # A copy, as metrics may return views of one tensor, which safetensors refuses to save.
    return {} if values is None else {name: values.clone()}
