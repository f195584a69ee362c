"""Metrics of several seeds and explainers."""

from __future__ import annotations

import benchmark_toys as toys
import pytest
import torch

from xai_adapters.benchmark.metrics.comparison_metric import cosine
from xai_adapters.benchmark.run.runner import run_benchmark


def test_several_seeds_tell_how_stable_an_explainer_is() -> None:
    names = (f"{toys.MODULE}:all_at_once", f"{toys.MODULE}:drawing")
    results = run_benchmark(toys.task(), names, seeds=3)
    stable = results.measurement("all_at_once", "seed_stability")
    assert stable.n == toys.N_ROWS
    assert 0 < results.measurement(names[1], "seed_stability").value < 1


def test_cosine_of_parallel_opposite_and_empty_scores():
    scores = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    reference = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [1.0, 0.0]])
    assert cosine(scores, reference).tolist() == pytest.approx([1, -1, 0])
