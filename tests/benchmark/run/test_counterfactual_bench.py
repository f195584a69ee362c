"""The comparison of counterfactuals on a task in miniature, with generators that cheat or fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import own_metric
import pytest
import torch
from torch import Tensor, nn

from xai_adapters.benchmark.metrics import metric
from xai_adapters.benchmark.results.results import ExplainerRun, Results
from xai_adapters.benchmark.run.counterfactual_bench import break_even
from xai_adapters.benchmark.run.query_counter import QueryCounter, count_queries
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.registry import ExplainerEntry, FunctionGenerator, Subject, lookup

pytest.importorskip("tqdm")


class Sign:
    """Class 1 for rows whose first column is positive."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.stack((X[:, 0] <= 0, X[:, 0] > 0), axis=1).astype(float)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return (X[:, 0] > 0).astype(int)


def flipped(rows: Tensor, original_class: Tensor) -> Tensor:
    """The nearest flips: the first column just across 0."""
    changed = rows.clone()
    changed[:, 0] = torch.where(original_class == 1, -0.01, 0.01)
    return changed


@pytest.fixture
def task() -> Task:
    rows = torch.randn(12, 2, generator=torch.Generator().manual_seed(0))
    background = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    return Task(
        "tiny", "tiny rows", "tabular", Sign(), rows, background, ("low", "high"),
        feature_names=("x", "y"), schema=FeatureSchema.all_continuous(2, names=["x", "y"]),
    )  # fmt: skip


@pytest.fixture
def compare(task: Task, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    def run(seeds: int = 1, block_size: int | None = None, **makers: Any) -> Results:
        entries = {
            name: ExplainerEntry(
                name, "for a test", maker, kind="counterfactual", block_size=block_size
            )
            for name, maker in makers.items()
        }
        known = {**lookup.built_in(), **entries}
        monkeypatch.setattr(lookup, "built_in", lambda: known)
        return run_benchmark(task, list(makers), seeds=seeds)

    return run


def always(counterfactuals: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Subject], Any]:
    return lambda _: FunctionGenerator(counterfactuals)


def test_validity_is_of_all_rows_and_distance_of_those_that_flipped(
    compare: Callable[..., Results], task: Task
) -> None:
    def half(rows: Tensor, original_class: Tensor) -> Tensor:
        return torch.where((rows[:, 1] > 0)[:, None], flipped(rows, original_class), rows)

    results = compare(half=always(half), all=always(flipped), none=always(lambda rows, _: rows))
    share = (task.rows[:, 1] > 0).double().mean().item()
    values = {(m.explainer, m.metric): (m.value, m.n) for m in results.measurements}
    assert values["half", "validity"] == (pytest.approx(share), 12)
    assert values["half", "l2"][1] == round(12 * share)
    assert values["all", "l2"][1] == 12
    assert values["none", "validity"] == (0.0, 12)
    assert ("none", "l2") not in values
    assert {row["row"] for row in results.rows
            if (row["explainer"], row["metric"]) == ("half", "l2")} == set(
        (task.rows[:, 1] > 0).nonzero()[:, 0].tolist()
    )  # fmt: skip
    # One that always fails takes no row away from the comparison on common rows.
    assert values["all", "l2_common"][1] == round(12 * share) if share >= 0.5 else 12
    assert values["all", "changed_features"][0] == 1


def test_rows_and_seconds_of_the_model_are_counted(compare: Callable[..., Results]) -> None:
    def asking(subject: Subject) -> Any:
        subject.model.predict_proba(subject.background.numpy())

        def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
            for _ in range(3):
                subject.model.predict_proba(rows.numpy())
            return flipped(rows, original_class)

        return FunctionGenerator(counterfactuals)

    for block_size in (None, 5):
        (run,) = compare(asking=asking, block_size=block_size).explainers
        assert run.costs["fit_queries"] == 50
        assert run.costs["queries_per_row"] == run.costs["most_queries_of_a_row"] == 3
        assert 0 < run.costs["own_latency_p50"] <= run.costs["latency_p50"]
        assert run.costs["latency_p50"] <= run.costs["latency_p95"]
        assert run.costs["own_seconds_per_row"] < run.seconds_per_row


def test_each_seed_makes_the_explainer_anew_and_rows_get_the_mean(
    compare: Callable[..., Results],
) -> None:
    seeds = []

    def seeded(subject: Subject) -> Any:
        seeds.append(subject.seed)
        return FunctionGenerator(
            lambda rows, original_class: flipped(rows, original_class) if subject.seed else rows
        )

    results = compare(seeds=3, seeded=seeded)
    assert seeds == [0, 1, 2]
    assert results.measurement("seeded", "validity").value == pytest.approx(2 / 3)
    # No seed's failure is a short distance.
    one = compare(flips=always(flipped)).measurement("flips", "l2")
    assert results.measurement("seeded", "l2").value == pytest.approx(one.value)
    assert results.explainers[0].n_rows == 12


def test_a_generator_that_spoils_its_model_spoils_no_other(compare: Callable[..., Results]) -> None:
    def vandal(subject: Subject) -> Any:
        subject.model.estimator.predict_proba = None
        return FunctionGenerator(flipped)

    results = compare(vandal=vandal, good=always(flipped))
    assert [run.status for run in results.explainers] == ["ok", "ok"]
    assert results.measurement("good", "validity").value == 1


def test_attributions_are_not_compared_here(task: Task) -> None:
    with pytest.raises(InvalidInputError, match="saliency makes attributions"):
        run_benchmark(task, ["saliency"])
    with pytest.raises(InvalidInputError, match="seeds must be at least 1, is 0"):
        run_benchmark(task, ["fimap_line_search"], seeds=0)


@pytest.mark.parametrize(
    ("ours", "other", "rows"),
    [
        ((10, 0.001), (0, 0.101), 100),
        ((10, 0.5), (0, 0.1), float("inf")),
        ((1, 0.5), (60, 0.1), 0),
        ((1, 0.1), (60, 0.5), 0),
    ],
)
def test_break_even(ours: tuple[float, float], other: tuple[float, float], rows: float) -> None:
    runs = [
        dataclasses.replace(
            ExplainerRun("", "", "none", "ok"), fit_seconds=fit, explain_seconds=per_row, n_rows=1
        )
        for fit, per_row in (ours, other)
    ]
    assert break_even(*runs) == pytest.approx(rows)


def test_a_counted_module_answers_as_it_does_and_passes_gradients() -> None:
    network, counter = nn.Linear(2, 3), QueryCounter()
    rows = torch.randn(5, 2, requires_grad=True)
    counted = count_queries(network, counter)
    assert torch.equal(counted(rows), network(rows))
    counted(rows).sum().backward()
    assert rows.grad is not None
    taken = counter.taken()
    assert taken.rows == 10
    assert taken.seconds > 0
    assert (counter.rows, counter.seconds) == (0, 0.0)


def test_a_counted_estimator_is_still_known_to_give_probabilities() -> None:
    """The name says so, and where it is not known every answer has to be looked at."""

    class Estimator:
        def predict_proba(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.full((len(rows), 2), 0.5)

    counter = QueryCounter()
    counted = count_queries(Estimator(), counter)
    assert counted.predict_proba.__name__ == "predict_proba"
    assert counted.predict_proba(np.zeros((3, 1))).shape == (3, 2)
    assert counter.rows == 3


def test_a_users_own_metric_is_measured_in_worker_processes_too(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric, "_METRICS", dict(metric._METRICS))
    metric.register(own_metric.Step)
    task = dataclasses.replace(task, model=own_metric.Sign())
    entry = ExplainerEntry("mirrored", "", own_metric.mirrored, kind="counterfactual")
    for jobs in (None, 1):
        results = run_benchmark(task, [entry], jobs=jobs)
        (step,) = [each for each in results.measurements if each.metric == "step"]
        assert step.value == pytest.approx(float(2 * task.rows[:, 0].abs().mean()), rel=1e-5)
