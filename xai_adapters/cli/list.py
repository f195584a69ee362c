"""`xai-adapters list`: the names that other commands take."""

# No "from __future__ import annotations": typer reads annotations as objects.

from collections.abc import Callable
from typing import Annotated

import typer

from xai_adapters.errors import UnknownNameError


def command(
    what: Annotated[
        str, typer.Argument(help="tasks, explainers, metrics or axioms.", show_default=False)
    ],
) -> None:
    """List tasks, explainers, metrics or axioms by name."""
    if what not in _LISTS:
        raise UnknownNameError("list", what, _LISTS)
    lines, newline = _LISTS[what](), "\n"
    width = max(len(name) for name, _ in lines)
    for name, description in lines:
        print(f"{name:{width}}  {description.replace(newline, newline + ' ' * (width + 2))}")


def _tasks() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.tasks import TASKS

    return [(name, entry.description) for name, entry in TASKS.items()]


def _explainers() -> list[tuple[str, str]]:
    from xai_adapters.registry import explainer_entries

    return [(entry.name, entry.summary) for entry in explainer_entries()]


def _metrics() -> list[tuple[str, str]]:
    from xai_adapters.benchmark.metrics import metric_facts
    from xai_adapters.benchmark.metrics.selection import attribution_metrics

    of = {metric.name: metric.selected_by for metric in attribution_metrics()}
    directions = {True: "higher is better", False: "lower is better", None: "neither is better"}
    lines = []
    for name, metric in metric_facts().items():
        low, high = ("unbounded" if end is None else f"{end:g}" for end in metric.range)
        facts = [
            directions[metric.higher_is_better],
            f"from {low} to {high}",
            f"of {', '.join(metric.inputs)}",
            metric.source,
            *([f"--metrics {of[name]}"] if name in of else []),
        ]
        lines.append((name, f"{metric.description}\n{'; '.join(facts)}"))
    quantus = "A metric of Quantus by its name, as in quantus:Sparseness."
    return [*lines, ("quantus:NAME", f"{quantus}\n--metrics quantus:NAME")]


def _axioms() -> list[tuple[str, str]]:
    from xai_adapters.axioms import AXIOMS

    return [(name, axiom.statement) for name, axiom in AXIOMS.items()]


_LISTS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "tasks": _tasks, "explainers": _explainers, "metrics": _metrics, "axioms": _axioms,
}  # fmt: skip
