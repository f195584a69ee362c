"""Who is ahead by each metric, and by how much, as far as the rows tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xai_adapters.benchmark.results.results import REFERENCE_EXPLAINERS, Results
from xai_adapters.benchmark.results.statistics import Array, difference, ranks

Place = tuple[str, str]


def values_of_rows(rows: Iterable[Mapping[str, Any]]) -> dict[Place, Array]:
    """Values by explainer and metric, (n,) in the order of the rows, NaN for those without one.

    Curves are left out: each of their thresholds would be a metric of its own.
    """
    found: dict[Place, dict[int, float]] = defaultdict(dict)
    for line in rows:
        if line["threshold"] is None:
            found[line["explainer"], line["metric"]][line["row"]] = line["value"]
    arrays = {}
    for place, values in found.items():
        arrays[place] = np.full(max(values) + 1, np.nan)
        arrays[place][list(values)] = list(values.values())
    return arrays


def settle_standings(results: Results) -> None:
    """Give each measurement its rank, and its distance from the one with the best mean.

    The bound and the floor of a comparison are nobody to be ranked with.
    """
    values = values_of_rows(results.rows)
    by_metric = defaultdict(list)
    for measurement in results.measurements:
        if measurement.explainer not in REFERENCE_EXPLAINERS:
            by_metric[measurement.metric].append(measurement)
    for metric, measurements in by_metric.items():
        higher = results.metrics[metric]["higher_is_better"]
        own = {each.explainer: values[each.explainer, metric] for each in measurements}
        if higher is None or len(own) < 2:
            continue
        places = ranks(own, higher_is_better=higher)
        leader = (max if higher else min)(measurements, key=lambda each: each.value)
        for each in measurements:
            each.rank = places[each.explainer]
            if each is not leader:
                gap = difference(own[each.explainer], own[leader.explainer])
                each.behind = {"leader": leader.explainer, "mean": gap[0], "interval": gap[1:]}
