"""A metric of Quantus, with a stand-in for the library."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import benchmark_toys as toys
import pytest

from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.errors import UnknownNameError


def test_a_metric_of_quantus_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sparseness:
        """How sparse it is.

        At length.
        """

        score_direction = SimpleNamespace(value="higher")

        def __init__(self, **settings: Any) -> None:
            assert settings == {"disable_warnings": True, "display_progressbar": False}

        def __call__(self, **batches: Any) -> list[float]:
            assert batches["x_batch"].shape == batches["a_batch"].shape
            assert len(batches["y_batch"]) == len(batches["x_batch"])
            if len(batches["x_batch"]) < toys.N_ROWS:
                raise ValueError("too few")
            sums = batches["a_batch"].sum(axis=(1, 2, 3))
            return [sums[0] + [-1, 1], *sums[1:]]

    fake = SimpleNamespace(
        Sparseness=Sparseness, AVAILABLE_METRICS={"Complexity": {"Sparseness": 1}}
    )
    monkeypatch.setitem(sys.modules, "quantus", fake)
    results = run_benchmark(
        toys.task(), [f"{toys.MODULE}:all_at_once"], metrics=("quantus:Sparseness",)
    )
    (found,) = results.measurements
    assert (found.metric, found.n) == ("quantus:Sparseness", toys.N_ROWS)
    facts = results.metrics["quantus:Sparseness"]
    assert (facts["higher_is_better"], facts["description"]) == (True, "How sparse it is.")
    (run,) = run_benchmark(
        toys.task(), [f"{toys.MODULE}:in_pairs"], metrics=("quantus:Sparseness",)
    ).explainers
    assert run.reason == "MetricError: quantus:Sparseness: ValueError: too few (rows 0 to 1)"
    with pytest.raises(UnknownNameError, match="Did you mean 'Sparseness'"):
        run_benchmark(toys.task(), metrics=("quantus:Sparsness",))
