"""The outcome of a run: plain data, written as JSON and parquet, read by the report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from xai_adapters.benchmark.metrics.agreement import Agreement
from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.benchmark.results.upgrade import upgraded

SCHEMA_VERSION = 3


@dataclass
class ExplainerRun:
    """One explainer in a run: its settings, its timings, and why it has no scores if it has none.

    `settings` are those of its entry in the registry and its own, in plain values.
    `n_rows` is the number of rows it explained within the time limit. `costs` are further figures
    by name: queries of the model, latencies, memory. `matches_mask` says whether `baseline` is the
    fill of masked pixels; None where there is no baseline. `role` is that of its entry in the
    registry: "ours", a "comparator", or a reference: the "upper bound" or "chance".
    """

    name: str
    summary: str
    baseline: str
    status: Literal["ok", "error", "not applicable"]
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    fit_seconds: float = 0.0
    explain_seconds: float = 0.0
    n_rows: int = 0
    matches_mask: bool | None = None
    costs: dict[str, float] = field(default_factory=dict)
    role: str = "comparator"

    @property
    def is_reference(self) -> bool:
        """Whether others are measured against it; references are neither ranked nor the best."""
        return self.role in ("upper bound", "chance")

    @property
    def seconds_per_row(self) -> float | None:
        """Mean seconds to explain a row, without fitting; None where no row was explained."""
        return self.explain_seconds / self.n_rows if self.n_rows else None


@dataclass
class Measurement:
    """One metric of one explainer: mean over rows with standard error and 95 % interval.

    `rank` holds the best and the worst rank that the rows allow, `behind` the mean difference from
    the explainer with the best mean, over the rows that both have, with its 95 % interval.
    """

    explainer: str
    metric: str
    value: float
    standard_error: float
    low: float
    high: float
    n: int
    rank: tuple[int, int] | None = None
    behind: dict[str, Any] | None = None


@dataclass
class Curve:
    """A metric at several thresholds, with its 95 % band; the lists have one entry each."""

    explainer: str
    metric: str
    thresholds: list[float]
    values: list[float]
    low: list[float]
    high: list[float]


@dataclass
class Examples:
    """Some rows of a table and their counterfactuals, with values as text.

    Args:
        features: their names.
        titles: the class of each row.
        before: for each row the values of its features.
        after: for each explainer and row the values it proposes.
        target_classes: for each explainer and row the class that the model gives those values.
    """

    features: list[str]
    titles: list[str]
    before: list[list[str]]
    after: dict[str, list[list[str]]] = field(default_factory=dict)
    target_classes: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Results:
    """All that a report or a later comparison needs to know about a run."""

    task: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    explainers: list[ExplainerRun] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    agreement: list[Agreement] = field(default_factory=list)
    examples: Examples | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    gallery: Gallery | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """All but rows and gallery; numbers that are not finite become null."""
        plain = asdict(replace(self, rows=[], gallery=None))
        del plain["rows"], plain["gallery"]
        for run, written in zip(self.explainers, plain["explainers"], strict=True):
            written["seconds_per_row"] = run.seconds_per_row
        return json.dumps(_finite(plain), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Results without rows and gallery, from the text of `to_json`; null becomes NaN.

        Raises:
            ValueError, TypeError, KeyError: for anything else.
        """
        plain: dict[str, Any] = upgraded(json.loads(text))
        for run in plain["explainers"]:
            del run["seconds_per_row"]
        made: dict[str, Any] = {
            "explainers": [ExplainerRun(**run) for run in plain.pop("explainers")],
            "measurements": [Measurement(**_numbers(m)) for m in plain.pop("measurements")],
            "curves": [Curve(**_numbers(curve)) for curve in plain.pop("curves")],
            "examples": Examples(**examples) if (examples := plain.pop("examples", None)) else None,
            "agreement": [Agreement(**each) for each in plain.pop("agreement", [])],
        }
        for measurement in made["measurements"]:
            measurement.rank = measurement.rank and tuple(measurement.rank)
        for run in made["explainers"]:
            run.costs = _numbers(run.costs)
        return cls(**plain, **made)

    def measurement(self, explainer: str, metric: str) -> Measurement | None:
        """The measurement of one metric of one explainer, or None where there is none."""
        for found in self.measurements:
            if found.explainer == explainer and found.metric == metric:
                return found
        return None


_OPTIONAL = ("rank", "behind")


def _numbers(plain: dict[str, Any]) -> dict[str, Any]:
    """The same with NaN in place of null."""
    return {
        key: [math.nan if each is None else each for each in value]
        if isinstance(value, list)
        else math.nan
        if value is None and key not in _OPTIONAL
        else value
        for key, value in plain.items()
    }


def _finite(value: Any) -> Any:
    """The same value with null in place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
