"""The outcome of a run: plain data, written as JSON and parquet, read by the report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

SCHEMA_VERSION = 1


@dataclass
class ExplainerRun:
    """How one explainer fared: its settings, its seconds, and why there are no scores if so.

    `n_rows` is how many rows it explained within the time limit, out of those asked for.
    `costs` are further figures by name: rows asked of the model, latencies, and the like.
    `matches_mask` tells whether `baseline` is the colour that the masking curve paints; None where
    there is no baseline.
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

    @property
    def seconds_per_row(self) -> float | None:
        """Mean seconds to explain one row, fitting apart; None where no row was explained."""
        return self.explain_seconds / self.n_rows if self.n_rows else None


@dataclass
class Measurement:
    """One metric of one explainer: mean over rows with standard error and 95 % interval."""

    explainer: str
    metric: str
    value: float
    standard_error: float
    low: float
    high: float
    n: int


@dataclass
class Curve:
    """A metric along a setting, with its 95 % band; the lists have one entry a threshold."""

    explainer: str
    metric: str
    thresholds: list[float]
    values: list[float]
    low: list[float]
    high: list[float]


@dataclass
class Gallery:
    """A few rows with what each explainer said of them, for people to look at.

    Args:
        rows: (m, channels, height, width) images in [0, 1], or (m, d) table rows.
        titles: (m,) what the model says of each row.
        maps: for each explainer, (m, height, width) or (m, d) scores; larger is more relevant.
        signed: for each explainer, whether the sign carries meaning (zero is neutral).
    """

    rows: Tensor
    titles: list[str]
    maps: dict[str, Tensor] = field(default_factory=dict)
    signed: dict[str, bool] = field(default_factory=dict)


@dataclass
class Results:
    """Everything a report or a later comparison needs to know about a run."""

    task: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    explainers: list[ExplainerRun] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    gallery: Gallery | None = None
    schema_version: int = SCHEMA_VERSION

    def as_json(self) -> str:
        """All but the rows and the gallery; numbers that are not finite become null."""
        plain = asdict(replace(self, rows=[], gallery=None))
        del plain["rows"], plain["gallery"]
        for run, written in zip(self.explainers, plain["explainers"], strict=True):
            written["seconds_per_row"] = run.seconds_per_row
        return json.dumps(_finite(plain), indent=2, allow_nan=False) + "\n"

    def measurement(self, explainer: str, metric: str) -> Measurement | None:
        """The measurement of one metric of one explainer, or None where there is none."""
        for found in self.measurements:
            if found.explainer == explainer and found.metric == metric:
                return found
        return None


def _finite(value: Any) -> Any:
    """The same value with null in place of every number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
