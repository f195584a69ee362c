"""What is measured in a run: the measures and fills that were asked for, as far as they apply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from xai_adapters.benchmark.metrics.facts import METRICS, Metric
from xai_adapters.benchmark.metrics.masking_curve import FILLS, VALUES
from xai_adapters.benchmark.metrics.measures import MEASURES, Scored, Values
from xai_adapters.benchmark.metrics.quantus import QUANTUS, measure_by_quantus, quantus_metric
from xai_adapters.benchmark.metrics.randomization import layers
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, UnknownNameError, XaiAdaptersError

_BECOME = {
    "gray": "gray", "black": "black", "white": "white", "mean": "the mean of their image",
    "blur": "blurred",
}  # fmt: skip


def check_names(names: Iterable[str], fills: Iterable[str]) -> None:
    """Make sure that measures and fills are there.

    Raises:
        UnknownNameError: for one that does not exist.
        MissingDependencyError: for one of a library that is not installed.
    """
    for name in names:
        if name.startswith(QUANTUS):
            quantus_metric(name)
        elif name not in MEASURES:
            raise UnknownNameError("metric", name, [*MEASURES, f"{QUANTUS}NAME"])
    for fill in fills:
        if fill not in FILLS:
            raise UnknownNameError("fill", fill, FILLS)


class MetricError(XaiAdaptersError, RuntimeError):
    """A metric could not be measured; the message says which and why."""


class Measuring:
    """The measures of a run.

    Args:
        names: of `MEASURES`, or "quantus:Name"; those that cost little if None.
        fills: what masked pixels become, beside the task's own mask.
        task: what is measured on.

    Raises:
        InvalidInputError: for a measure that was asked for and cannot be of this task.
    """

    def __init__(self, names: Sequence[str] | None, fills: Iterable[str], task: Task) -> None:
        if names is None:
            names = [name for name, measure in MEASURES.items() if task.kind in measure.default]
        self.names = list(dict.fromkeys(names))
        # What the task's own mask is, is measured already.
        self.fills = [fill for fill in dict.fromkeys(fills) if VALUES.get(fill) != task.mask_value]
        known = {name: MEASURES[name] for name in self.names if name in MEASURES}
        if not (task.differentiable and layers(task.model)):
            of_modules = [name for name, measure in known.items() if measure.of_modules]
            if of_modules:
                raise InvalidInputError(
                    f"{', '.join(of_modules)} can be measured of torch modules with parameters only"
                )
        of_images = [name for name, measure in known.items() if measure.of_images]
        if task.kind != "image" and of_images:
            raise InvalidInputError(f"{', '.join(of_images)} can be measured on images only")

    def facts(self) -> dict[str, Metric]:
        """Facts on what is measured here beyond `METRICS`: with other fills, or by Quantus."""
        found = {}
        for fill in self.fills:
            for name in self.names:
                measure = MEASURES.get(name)
                for metric in measure.metrics if measure and measure.with_fill else ():
                    facts = METRICS[metric]
                    found[f"{metric}[{fill}]"] = replace(
                        facts,
                        title=f"{facts.title}, {fill}",
                        description=f"{facts.description} Masked pixels are {_BECOME[fill]}.",
                        fill=fill,
                    )
        for name in self.names:
            if name.startswith(QUANTUS):
                found[name] = quantus_metric(name)
        return found

    def measured(self, scored: Scored) -> Values:
        """All values of some rows.

        Raises:
            MetricError: if one cannot be measured, with its name.
        """
        found: Values = {}
        for name in self.names:
            try:
                found |= self._of_one(name, scored)
            except Exception as error:
                raise MetricError(f"{name}: {type(error).__name__}: {error}") from error
        return found

    def _of_one(self, name: str, scored: Scored) -> Values:
        if name.startswith(QUANTUS):
            return measure_by_quantus(scored, name.removeprefix(QUANTUS))
        measure = MEASURES[name]
        if not measure.with_fill:
            return measure.apply(scored)
        found = measure.apply(scored, scored.task.mask_value, "")
        for fill in self.fills:
            found |= measure.apply(scored, fill, f"[{fill}]")
        return found
