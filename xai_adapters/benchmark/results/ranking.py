"""The ranking of explainers by each metric, as far as the rows allow one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.results.statistics import Array, difference, ranks

ExplainerAndMetric = tuple[str, str]


def values_of_rows(rows: Iterable[Mapping[str, Any]]) -> dict[ExplainerAndMetric, Array]:
    """Values (n,) by explainer and metric, in the order of the rows; NaN where there is none.

    Curves are left out, because each of their thresholds would be a metric of its own.
    """
    by_row: dict[ExplainerAndMetric, dict[int, float]] = defaultdict(dict)
    for line in rows:
        if line["threshold"] is None:
            by_row[line["explainer"], line["metric"]][line["row"]] = line["value"]
    arrays = {}
    for key, values in by_row.items():
        arrays[key] = np.full(max(values) + 1, np.nan)
        arrays[key][list(values)] = list(values.values())
    return arrays


def rank_explainers(results: Results) -> None:
    """Set each measurement's rank and its difference from the explainer with the best mean.

    Reference explainers are not ranked.
    """
    values = values_of_rows(results.rows)
    references = {run.name for run in results.explainers if run.is_reference}
    by_metric = defaultdict(list)
    for measurement in results.measurements:
        if measurement.explainer not in references:
            by_metric[measurement.metric].append(measurement)
    for metric, measurements in by_metric.items():
        higher = results.metrics[metric]["higher_is_better"]
        own = {each.explainer: values[each.explainer, metric] for each in measurements}
        if higher is None or len(own) < 2:
            continue
        ranking = ranks(own, higher_is_better=higher)
        leader = (max if higher else min)(measurements, key=lambda each: each.value)
        for each in measurements:
            each.rank = ranking[each.explainer]
            if each is not leader:
                gap = difference(own[each.explainer], own[leader.explainer])
                each.behind = {"leader": leader.explainer, "mean": gap[0], "interval": gap[1:]}
