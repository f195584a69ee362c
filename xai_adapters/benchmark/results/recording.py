"""Values of rows, written into results with their means and intervals."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from xai_adapters.benchmark.results.results import Curve, Measurement, Results
from xai_adapters.benchmark.results.statistics import bootstrap_interval, standard_error


def record_values(
    results: Results,
    explainer: str,
    metric: str,
    values: Tensor,
    *,
    seed: int,
    compared: bool = True,
) -> None:
    """Add the values of rows to the results, and their mean as a measurement or a curve.

    Args:
        results: changed in place.
        explainer: its name.
        metric: the name of one of `results.metrics`.
        values: (n,) or (n, thresholds), NaN where there is no value.
        seed: seed of the bootstrap.
        compared: whether to add the mean; an explainer that failed on some rows is not compared on
            the others.
    """
    by_row = values.double().cpu().numpy()
    known = np.flatnonzero(~np.isnan(by_row.reshape(len(by_row), -1)).any(axis=1))
    if not len(known):
        return
    thresholds = list(results.metrics[metric]["thresholds"])
    results.rows += [
        {
            "explainer": explainer, "metric": metric, "row": int(row), "threshold": threshold,
            "value": value,
        }
        for row in known
        for threshold, value in zip(
            thresholds or [None], np.atleast_1d(by_row[row]).tolist(), strict=True
        )
    ]  # fmt: skip
    if not compared:
        return
    low, high = bootstrap_interval(by_row[known], seed=seed)
    means = by_row[known].mean(axis=0)
    if by_row.ndim == 1:
        error = standard_error(by_row[known])
        interval = float(low), float(high)
        results.measurements.append(
            Measurement(explainer, metric, float(means), error, *interval, len(known))
        )
    else:
        results.curves.append(
            Curve(explainer, metric, thresholds, means.tolist(), low.tolist(), high.tolist())
        )
