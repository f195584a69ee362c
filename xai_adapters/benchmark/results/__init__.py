"""The results of a run: data, files, statistics, and the comparison of two runs."""

from xai_adapters.benchmark.metrics.agreement import Agreement
from xai_adapters.benchmark.results.comparison import (
    Change,
    Comparison,
    compare,
    print_comparison,
)
from xai_adapters.benchmark.results.files import read_results, write_results
from xai_adapters.benchmark.results.gallery import MAP_SIDE, Gallery
from xai_adapters.benchmark.results.results import (
    Curve,
    Examples,
    ExplainerRun,
    Measurement,
    Results,
)
from xai_adapters.benchmark.results.statistics import bootstrap_interval

__all__ = [
    "MAP_SIDE",
    "Agreement",
    "Change",
    "Comparison",
    "Curve",
    "Examples",
    "ExplainerRun",
    "Gallery",
    "Measurement",
    "Results",
    "bootstrap_interval",
    "compare",
    "print_comparison",
    "read_results",
    "write_results",
]
