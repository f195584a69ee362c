"""What a metric is, and the registry of metrics.

A metric is a class with its facts and one `compute`, in a file of this package:

    @register
    class Sparseness(AttributionMetric):
        \"\"\"Gini index of the scores' magnitudes.\"\"\"

        name = title = "sparseness"
        higher_is_better = None
        source = "Chalasani et al. 2020"

        def compute(self, attributions: Attributions) -> Tensor:
            return gini_index(attributions.scores)

Nothing else has to be edited: `xai-adapters list metrics`, `--metrics`, the tables and the report
read the registry. A metric never sees an explainer, only what the explainer returned.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

from torch import Tensor

from xai_adapters.errors import InvalidInputError

Given = TypeVar("Given")
# "attribution": attributions of images and of tables.
Kind = Literal["image", "tabular", "attribution", "counterfactual"]

Range = tuple[float | None, float | None]
# The range of what can be arbitrarily large.
NON_NEGATIVE: Range = (0.0, None)
# Appended to a metric's name where it is measured on rows for which every explainer succeeded.
COMMON = "_common"


@dataclass(frozen=True)
class Facts:
    """Facts about a metric, for tables and reports.

    Args:
        title: heading of its column.
        description: what it measures, in a sentence or two.
        higher_is_better: which direction is better; None if neither is.
        kind: the tasks it is measured on; "attribution" covers images and tables.
        unit: of its values, "" for shares.
        thresholds: where it is measured, if it is a curve; `along` describes them.
        along: label of the thresholds.
        range: smallest and largest possible value; None if unbounded.
        inputs: what it is computed from.
        source: where it comes from.
        fill: what masked pixels become, if it is not the task's own mask.
    """

    title: str
    description: str
    higher_is_better: bool | None
    kind: Kind
    unit: str = ""
    thresholds: tuple[float, ...] = ()
    along: str = "share masked"
    range: Range = (0.0, 1.0)
    inputs: tuple[str, ...] = ("scores", "rows", "model")
    source: str = ""
    fill: str = ""


class Metric(ABC, Generic[Given]):
    """A metric; subclass one of the kinds below rather than this class.

    The attributes are those of `Facts`, and:

    Attributes:
        takes: the type of what `compute` is given.
        name: the name in results; the docstring describes the metric to readers of a report.
        order: columns are sorted by it. The first column with a better direction orders the
            explainers.
        compared_on_common_rows: whether it is also averaged over the rows for which every explainer
            succeeded.
    """

    takes: ClassVar[type]
    name: str
    title: str
    description: str = ""
    higher_is_better: bool | None
    kind: Kind
    unit: str = ""
    thresholds: tuple[float, ...] = ()
    along: str = "share masked"
    range: Range = (0.0, 1.0)
    inputs: tuple[str, ...] = ("scores", "rows", "model")
    source: str = ""
    fill: str = ""
    order: float = 1000.0
    compared_on_common_rows: bool = False

    @abstractmethod
    def compute(self, given: Given) -> Tensor | None:
        """Values (n,), or (n, thresholds) of a curve; NaN for a row, or None, if undefined."""

    @property
    def facts(self) -> Facts:
        """The facts as plain data."""
        facts = Facts(**{each.name: getattr(self, each.name) for each in fields(Facts)})
        text = self.description or " ".join((inspect.getdoc(self) or "").split())
        return replace(facts, description=text)


_METRICS: dict[str, Metric[Any]] = {}

Registered = TypeVar("Registered", bound="Metric[Any] | type[Metric[Any]]")


def register(metric: Registered) -> Registered:
    """Register a metric: decorate its class, or pass an instance of a class with parameters.

    Raises:
        InvalidInputError: if there is another metric of that name.
    """
    instance = metric() if isinstance(metric, type) else metric
    if instance.name in _METRICS:
        raise InvalidInputError(f"there already is a metric '{instance.name}'")
    _METRICS[instance.name] = instance
    return metric


def registered_metrics() -> list[Metric[Any]]:
    """All registered metrics, in the order of their columns."""
    return sorted(_METRICS.values(), key=lambda metric: metric.order)


def metric_facts() -> dict[str, Facts]:
    """Facts about everything that can be measured, by the name in results."""
    facts = {metric.name: metric.facts for metric in registered_metrics()}
    for metric in registered_metrics():
        if metric.compared_on_common_rows:
            facts[metric.name + COMMON] = replace(
                metric.facts,
                title=f"{metric.title}, common rows",
                description="The same, averaged over the rows for which every explainer with a "
                "validity of at least one half succeeded.",
            )
    return facts


def measured(given: Any, metrics: Iterable[Metric[Any]]) -> Iterator[tuple[str, Tensor]]:
    """Name and values of those metrics that are of what is given."""
    for metric in metrics:
        if isinstance(given, metric.takes):
            values = metric.compute(given)
            if values is not None:
                # A copy: safetensors refuses to save views of one tensor.
                yield metric.name, values.clone()
