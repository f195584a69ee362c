"""Which metrics a run computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import benchmark_toys as toys
import pytest
from attribution_cases import attributions, table

from xai_adapters.benchmark.metrics import MetricSelection
from xai_adapters.benchmark.metrics.selection import attribution_metrics
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.errors import InvalidInputError, MissingDependencyError, UnknownNameError


@pytest.mark.parametrize(
    ("mask_value", "others"),
    [(0.5, ["blur", "white"]), (1.0, ["blur", "gray"]), (0.3, ["blur", "gray", "white"])],
)
def test_the_tasks_own_mask_is_not_measured_twice(mask_value: float, others: list[str]) -> None:
    task = replace(toys.task(), mask_value=mask_value)
    selection = MetricSelection(None, ("gray", "white", "blur", "white"), task)
    assert sorted({facts.fill for facts in selection.facts().values()}) == others
    measured = selection.measure(attributions(task, task.rows))
    assert sorted({name.partition("[")[2] for name in measured} - {""}) == [
        f"{fill}]" for fill in others
    ]


def test_every_metric_states_its_facts() -> None:
    task = toys.task()
    results = run_benchmark(task, [f"{toys.MODULE}:all_at_once"], fills=("blur",))
    for facts in results.metrics.values():
        assert set(facts) >= {"higher_is_better", "range", "inputs", "source", "description"}
    for line in results.rows:
        low, high = results.metrics[line["metric"]]["range"]
        assert low is None or line["value"] >= low - 1e-6
        assert high is None or line["value"] <= high + 1e-6
    measured = {metric.name for metric in attribution_metrics() if "image" in metric.default_on}
    blurred = {f"{metric}[blur]" for metric in measured if metric != "sparseness"}
    assert {line["metric"] for line in results.rows} == measured | blurred


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"metrics": ("maskin",)}, UnknownNameError, "Did you mean 'masking'"),
        ({"fills": ("grey",)}, UnknownNameError, "Did you mean 'gray'"),
        ({"metrics": ("quantus:Sparseness",)}, MissingDependencyError, r"xai-adapters\[quantus\]"),
    ],
)
def test_metrics_that_are_not_there(
    settings: dict[str, Any], error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "quantus", None)
    with pytest.raises(error, match=told):
        run_benchmark(toys.task(), [f"{toys.MODULE}:all_at_once"], **settings)


def test_masking_is_of_images() -> None:
    with pytest.raises(InvalidInputError, match="masking: needs images"):
        MetricSelection(("masking",), (), table())
    assert MetricSelection(None, (), table()).names == ["sparseness", "faithfulness"]
