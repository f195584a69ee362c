"""What changed between two runs, beyond noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xai_adapters.benchmark.results.ranking import values_of_rows
from xai_adapters.benchmark.results.results import ExplainerRun, Measurement, Results
from xai_adapters.benchmark.results.statistics import (
    SIGNIFICANCE,
    Array,
    difference,
    holm,
    paired_p_value,
    row_differences,
    unpaired_p_value,
)
from xai_adapters.errors import require

Verdict = Literal["better", "worse", "different", "same"]
# Timings of the same code vary by about this factor from run to run.
_VARIATION = 1.5


@dataclass(frozen=True)
class Change:
    """One metric of one explainer in two runs.

    Args:
        explainer: its name.
        metric: its name.
        before: the mean in the first run.
        after: the mean in the second run.
        interval: 95 % interval of after minus before.
        paired: whether the same rows were compared one by one.
        verdict: "same" unless the difference is significant, adjusted for the number of
            measurements compared; "different" where neither direction is better.
    """

    explainer: str
    metric: str
    before: float
    after: float
    interval: tuple[float, float]
    paired: bool
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """What changed between two runs.

    Args:
        changes: of each measurement that both have.
        warnings: differences that limit the comparison: machine, versions, options or rows.
        failures: explainers that were compared in the first run and fail in the second.
        notes: what else differs: explainers or metrics that only one has, explainers that ran out
            of time, timings.
    """

    changes: list[Change]
    warnings: list[str]
    failures: list[str]
    notes: list[str]

    @property
    def regressed(self) -> bool:
        """Whether a metric got worse beyond noise, or an explainer fails that did not."""
        return bool(self.failures) or any(each.verdict == "worse" for each in self.changes)


def compare(before: Results, after: Results) -> Comparison:
    """Compare two runs, row by row where both explained the same rows."""
    same_rows = before.task.get("data_hash") == after.task.get("data_hash")
    runs = [{run.name: run for run in each.explainers} for each in (before, after)]
    return Comparison(
        _changes(before, after, paired=same_rows),
        [*_warnings(before, after), *_settings(*runs)],
        list(_failures(*runs)),
        [
            *_only_one(*runs),
            *_metrics_of_one(before, after),
            *_cut_short(*runs),
            *_seconds(before, after, *runs),
        ],
    )


def _changes(before: Results, after: Results, *, paired: bool) -> list[Change]:
    values = [values_of_rows(each.rows) if paired else {} for each in (before, after)]
    tested: list[tuple[Change, float]] = []
    for first in before.measurements:
        second = after.measurement(first.explainer, first.metric)
        if second is None:
            continue
        key = first.explainer, first.metric
        if all(key in each for each in values):
            tested.append(_paired(first, second, values[0][key], values[1][key]))
        else:
            tested.append(_unpaired(first, second))
    adjusted = holm([p_value for _, p_value in tested])
    return [
        Change(**{**vars(change), "verdict": _verdict(change, p_value, before)})
        for (change, _), p_value in zip(tested, adjusted, strict=True)
    ]


def _paired(
    first: Measurement, second: Measurement, before: Array, after: Array
) -> tuple[Change, float]:
    _, low, high = difference(after, before)
    change = Change(
        first.explainer, first.metric, first.value, second.value, (low, high), True, "same"
    )
    return change, paired_p_value(row_differences(after, before))


def _unpaired(first: Measurement, second: Measurement) -> tuple[Change, float]:
    apart, errors = second.value - first.value, (first.standard_error, second.standard_error)
    reach = 1.96 * math.hypot(*errors)
    change = Change(
        first.explainer, first.metric, first.value, second.value,
        (apart - reach, apart + reach), False, "same",
    )  # fmt: skip
    return change, unpaired_p_value(apart, errors)


def _verdict(change: Change, p_value: float, results: Results) -> Verdict:
    if not p_value < SIGNIFICANCE:
        return "same"
    higher = results.metrics.get(change.metric, {}).get("higher_is_better")
    if higher is None:
        return "different"
    # The interval is over the rows that both have; the means may be over others.
    return "better" if (sum(change.interval) > 0) == higher else "worse"


_COMPARED = {
    "task": ("name", "data_hash", "mask_value"),
    "settings": ("seed", "seeds", "time_limit", "block_size", "threads", "jobs", "device"),
    "environment": ("platform", "processor", "cores", "python", "versions", "commit", "dirty"),
}
_TITLES = {"name": "task", "data_hash": "rows", "dirty": "uncommitted changes"}


def _warnings(before: Results, after: Results) -> Iterator[str]:
    for part, names in _COMPARED.items():
        first, second = getattr(before, part), getattr(after, part)
        for name in names:
            yield from _difference(_TITLES.get(name, name), first.get(name), second.get(name))
    if not before.rows or not after.rows:
        yield "rows.parquet is missing: means are compared without pairing rows"


def _difference(name: str, first: Any, second: Any) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in {**first, **second}:
            yield from _difference(f"version of {key}", first.get(key), second.get(key))
    elif first != second:
        if name == "rows":
            yield "the rows differ: means are compared without pairing rows"
        else:
            yield f"{name} differs: {first}, then {second}"


def _settings(before: dict[str, ExplainerRun], after: dict[str, ExplainerRun]) -> Iterator[str]:
    """Settings of explainers that differ, of those that both runs know. The seed is the run's."""
    for name in [name for name in before if name in after]:
        first, second = before[name].settings, after[name].settings
        for key in [key for key in first if key in second and key != "seed"]:
            yield from _difference(f"{key} of {name}", first[key], second[key])


def _failures(before: dict[str, ExplainerRun], after: dict[str, ExplainerRun]) -> Iterator[str]:
    for name, run in after.items():
        if run.status != "ok" and name in before and before[name].status == "ok":
            now = "raises" if run.status == "error" else "is not applicable"
            yield f"{name} {now} now: {run.reason}"


def _only_one(before: dict[str, ExplainerRun], after: dict[str, ExplainerRun]) -> Iterator[str]:
    for name in [*before, *after]:
        if (name in before) != (name in after):
            yield f"{name} is only in the {'first' if name in before else 'second'} run"


def _metrics_of_one(before: Results, after: Results) -> Iterator[str]:
    measured = [
        list(dict.fromkeys(m.metric for m in each.measurements)) for each in (before, after)
    ]
    for which, own, others in (("first", *measured), ("second", *reversed(measured))):
        alone = [metric for metric in own if metric not in others]
        if alone:
            yield f"measured in the {which} run only: {', '.join(alone)}"


def _cut_short(before: dict[str, ExplainerRun], after: dict[str, ExplainerRun]) -> Iterator[str]:
    for name, run in after.items():
        if run.status == "ok" and run.reason and name in before and not before[name].reason:
            yield f"{name} {run.reason}"


def _seconds(
    first: Results,
    second: Results,
    before: dict[str, ExplainerRun],
    after: dict[str, ExplainerRun],
) -> Iterator[str]:
    alone = all(each.settings.get("jobs", 1) == 1 for each in (first, second))
    if not alone or first.environment.get("processor") != second.environment.get("processor"):
        return
    for name in before:
        times = [runs[name].seconds_per_row for runs in (before, after) if name in runs]
        if len(times) == 2 and times[0] and times[1]:
            ratio = times[1] / times[0]
            if not 1 / _VARIATION < ratio < _VARIATION:
                yield f"{name} takes {ratio:.2g} times as long per row"


def print_comparison(comparison: Comparison, console: Any) -> None:
    """Print a comparison to a `rich.console.Console`."""
    text = require("rich.text", "benchmark").Text
    for warning in comparison.warnings:
        console.print(text(f"runs differ: {warning}", style="yellow"))
    table = require("rich.table", "benchmark").Table(box=require("rich.box", "benchmark").SIMPLE)
    for heading in ("explainer", "metric", "before", "after", "difference", ""):
        table.add_column(heading)
    changed = [change for change in comparison.changes if change.verdict != "same"]
    styles = {"better": "green", "worse": "red", "different": ""}
    for change in changed:
        low, high = change.interval
        table.add_row(
            *map(text, (change.explainer, change.metric)),
            f"{change.before:.4g}",
            f"{change.after:.4g}",
            text(f"[{low:+.3g}, {high:+.3g}]"),
            text(change.verdict, style=styles[change.verdict]),
        )
    if changed:
        console.print(table)
    for failure in comparison.failures:
        console.print(text(failure, style="red"))
    for note in comparison.notes:
        console.print(text(note, style="dim"))
    n, n_paired = len(comparison.changes), sum(each.paired for each in comparison.changes)
    console.print(
        f"{len(changed)} of {n} measurements differ beyond noise; {n_paired} were compared row by "
        "row",
        highlight=False,
    )
