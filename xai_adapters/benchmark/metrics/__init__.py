"""Metrics: what is measured of attributions and counterfactuals.

To add a metric, add a file to this package with a class that is decorated with `register`; see
`xai_adapters.benchmark.metrics.metric`.
"""

import importlib
import pkgutil

from xai_adapters.benchmark.metrics.attribution_metric import (
    AttributionMetric,
    Attributions,
    relevance,
)
from xai_adapters.benchmark.metrics.comparison_metric import ComparisonMetric, Explanations
from xai_adapters.benchmark.metrics.counterfactual_metric import (
    CounterfactualMetric,
    Counterfactuals,
    DistanceMetric,
    Outcome,
    ReferenceRows,
)
from xai_adapters.benchmark.metrics.masking import (
    FILLS,
    THRESHOLDS,
    Fill,
    filling,
    masked_answers,
    relevance_ranks,
)
from xai_adapters.benchmark.metrics.metric import (
    Facts,
    Metric,
    metric_facts,
    register,
    registered_metrics,
)
from xai_adapters.benchmark.metrics.randomization import randomized
from xai_adapters.benchmark.metrics.selection import MetricSelection

__all__ = [
    "FILLS",
    "THRESHOLDS",
    "AttributionMetric",
    "Attributions",
    "ComparisonMetric",
    "CounterfactualMetric",
    "Counterfactuals",
    "DistanceMetric",
    "Explanations",
    "Facts",
    "Fill",
    "Metric",
    "MetricSelection",
    "Outcome",
    "ReferenceRows",
    "filling",
    "masked_answers",
    "metric_facts",
    "randomized",
    "register",
    "registered_metrics",
    "relevance",
    "relevance_ranks",
]

# Each module registers its metrics.
for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
