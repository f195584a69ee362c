"""What every registered metric states, and that a new one is a class and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import benchmark_toys as toys
import pytest
from torch import Tensor

from xai_adapters.benchmark.metrics import (
    AttributionMetric,
    Attributions,
    metric_facts,
    register,
    registered_metrics,
)
from xai_adapters.benchmark.metrics import metric as registry
from xai_adapters.benchmark.report.columns import metric_columns
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.cli import main
from xai_adapters.errors import InvalidInputError

ISSUED = {
    "masking_curve", "masking_area", "changed_30", "changed_50", "changed_70",
    "insertion_curve", "insertion_area", "deletion_curve", "deletion_area", "sparseness",
    "infidelity", "max_sensitivity", "faithfulness", "randomization_curve", "randomization",
    "seed_stability", "cosine_to_lime", "validity", "adversarial_accuracy",
    "recovery_accuracy", "changed_features", "changed_categories", "l1", "l1_mad", "l2",
    "linf", "removable_changes", "neighbour_distance", "log_density", "violations",
    "changed_features_common", "l1_common", "l2_common",
}  # fmt: skip


class RowMean(AttributionMetric):
    """Mean of the scores of a row."""

    name = title = "row_mean"
    higher_is_better = True
    range = (None, None)
    inputs = ("scores",)
    source = "this test"

    def compute(self, attributions: Attributions) -> Tensor:
        return attributions.scores.flatten(1).mean(dim=1)


@pytest.fixture
def row_mean() -> Iterator[None]:
    register(RowMean)
    yield
    del registry._METRICS["row_mean"]


@pytest.mark.usefixtures("row_mean")
def test_a_new_metric_is_one_class(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = run_benchmark(toys.task(), [f"{toys.MODULE}:all_at_once"], metrics=("row_mean",))
    (mean,) = results.measurements
    expected = results.gallery.maps["all_at_once"].mean().item()
    assert mean.value == pytest.approx(expected)
    (column,) = metric_columns(results)
    assert (column.title, column.description) == ("row_mean", "Mean of the scores of a row.")
    monkeypatch.setattr(sys, "argv", ["xai-adapters", "list", "metrics"])
    with pytest.raises(SystemExit):
        main()
    assert "--metrics row_mean" in capsys.readouterr().out


@pytest.mark.usefixtures("row_mean")
def test_two_metrics_cannot_share_a_name() -> None:
    with pytest.raises(InvalidInputError, match="there already is a metric 'row_mean'"):
        register(RowMean)


@pytest.mark.parametrize("name", metric_facts())
def test_every_metric_states_what_it_is_computed_from_and_where_it_comes_from(name: str) -> None:
    facts = metric_facts()[name]
    assert facts.title
    assert facts.description.endswith(".")
    assert facts.inputs
    assert facts.source
    low, high = facts.range
    assert low is None or high is None or low < high


def test_columns_have_their_own_place() -> None:
    """Ties would be ordered by the names of files; only the shares of one class are tied."""
    orders = [metric.order for metric in registered_metrics()]
    tied = {order for order in orders if orders.count(order) > 1}
    assert tied == {12}


def test_names_that_were_issued_stay() -> None:
    assert metric_facts().keys() >= ISSUED
    assert {name for name in metric_facts() if name.endswith("_common")} <= ISSUED
