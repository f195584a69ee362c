"""Measures of attributions against slow and plain second implementations."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import benchmark_toys as toys
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xai_adapters.benchmark.metrics.agreement import agreements
from xai_adapters.benchmark.metrics.masking_curve import THRESHOLDS, relevance_ranks
from xai_adapters.benchmark.metrics.measures import (
    MEASURES,
    Scored,
    measure_faithfulness,
    measure_infidelity,
    measure_sensitivity,
    measure_sparseness,
)
from xai_adapters.benchmark.metrics.measuring import Measuring
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.own_task import task_of
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, MissingDependencyError, UnknownNameError
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import ExplainerEntry, FunctionExplainer

VALUES = st.lists(st.integers(-3, 3), min_size=3, max_size=3)


def scored(task: Task, scores: Tensor, **changes: Any) -> Scored:
    black_box = BlackBox(task.model)
    made = Scored(
        task, black_box, task.rows, black_box.labels(task.rows), scores, False,
        lambda rows, classes: rows, lambda name, model: lambda rows, classes: rows, 0,
    )  # fmt: skip
    return replace(made, **changes)


def table() -> Task:
    """Three columns, of which the model adds up the first two as they are."""

    def model(X: np.ndarray) -> np.ndarray:
        yes = np.clip(0.5 + 0.1 * X[:, 0] + 0.05 * X[:, 1], 0, 1)
        return np.stack((1 - yes, yes), axis=1)

    rows = np.random.default_rng(0).uniform(-1, 1, size=(30, 3)).astype(np.float32)
    return task_of(model, rows, limit=10)


def gradients(task: Task) -> Tensor:
    sign = 2 * BlackBox(task.model).labels(task.rows)[:, None] - 1
    return sign * torch.tensor([0.1, 0.05, 0.0])


@given(VALUES)
def test_sparseness_is_the_gini_index(drawn: list[int]) -> None:
    row = torch.tensor([drawn], dtype=torch.float32)
    task = table()
    (found,) = measure_sparseness(scored(replace(task, rows=task.rows[:1]), row))["sparseness"]
    sizes = [abs(value) for value in drawn]
    apart = sum(abs(a - b) for a in sizes for b in sizes)
    expected = apart / (2 * len(sizes) * sum(sizes)) if any(sizes) else 0
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["table", "image"])
def test_faithfulness_is_the_correlation_over_random_halves(kind: str) -> None:
    task = table() if kind == "table" else toys.task()
    scores = torch.rand(task.rows.shape, generator=torch.Generator().manual_seed(1))
    asked = scored(task, scores)
    found = measure_faithfulness(asked)["faithfulness"]
    absent_value = task.background.mean(dim=0) if kind == "table" else torch.tensor(0.5)
    d = task.rows[0].numel()
    order = torch.rand(50, d, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    for row, label, score, one in zip(task.rows, asked.classes, scores, found, strict=True):
        taken, lost = [], []
        for some in order:
            absent = (some < (d + 1) // 2).view(row.shape)
            taken.append(score[absent].sum().item())
            answers = [
                asked.black_box.probabilities(each[None])[0, label].item()
                for each in (row, torch.where(absent, absent_value, row))
            ]
            lost.append(answers[0] - answers[1])
        assert one.item() == pytest.approx(np.corrcoef(taken, lost)[0, 1], abs=1e-4)


def test_the_true_weights_are_faithful_and_infallible() -> None:
    task = table()
    right = gradients(task)
    wrong = right.flip(1)
    away_from_mean = right * (task.rows - task.background.mean(dim=0))
    faithful = measure_faithfulness(scored(task, away_from_mean))["faithfulness"]
    assert faithful.min() > 0.999
    torch.manual_seed(0)
    pytest.importorskip("captum")
    assert measure_infidelity(scored(task, right))["infidelity"].max() < 1e-9
    assert measure_infidelity(scored(task, wrong))["infidelity"].min() > 1e-7


def test_sensitivity_is_of_the_explainer() -> None:
    pytest.importorskip("captum")
    task = table()
    still = scored(task, task.rows, explain=lambda rows, classes: torch.ones_like(rows))
    assert measure_sensitivity(still)["max_sensitivity"].max() == 0
    moving = scored(task, task.rows, explain=lambda rows, classes: rows)
    found = measure_sensitivity(moving)["max_sensitivity"]
    span = task.background.amax(dim=0) - task.background.amin(dim=0)
    assert (found > 0).all()
    assert (found * task.rows.norm(dim=1) <= 0.02 * span.norm() + 1e-6).all()


def test_insertion_and_deletion_uncover_and_cover_the_relevant_pixels_first() -> None:
    def explain(rows: Tensor, target: Tensor) -> Tensor:
        return torch.arange(16.0).view(1, 1, 4, 4).expand_as(rows)

    task = toys.task()
    entry = ExplainerEntry("known", "", lambda _: FunctionExplainer(explain))
    results = run_benchmark(task, [entry], metrics=("masking", "deletion"), fills=("black",))
    ask = scored(task, task.rows)
    ranks = relevance_ranks(explain(task.rows, task.rows), by_magnitude=False)
    values = {
        (line["metric"], line["row"], line["threshold"]): line["value"] for line in results.rows
    }
    for fill, suffix in ((0.5, ""), (0.0, "[black]")):
        for i, row in enumerate(task.rows):
            inserted, deleted = [], []
            for share in THRESHOLDS:
                n = 16 - round((1 - share) * 16)
                shown = (ranks[i] >= 16 - n).view(1, 4, 4)
                n_gone = round(share * 16)
                gone = (ranks[i] >= 16 - n_gone).view(1, 4, 4)
                for answers, seen in ((inserted, shown), (deleted, ~gone)):
                    masked = torch.where(seen, row, fill)[None]
                    answers.append(ask.probability(masked, ask.classes[i : i + 1]).item())
                assert values[f"insertion_curve{suffix}", i, share] == pytest.approx(inserted[-1])
                assert values[f"deletion_curve{suffix}", i, share] == pytest.approx(deleted[-1])
            for metric, answers in (("insertion", inserted), ("deletion", deleted)):
                area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz  # noqa: NPY201
                assert values[f"{metric}_area{suffix}", i, None] == pytest.approx(
                    area(answers, THRESHOLDS), abs=1e-6
                )
    assert results.metrics["masking_area[black]"]["title"] == "masking area, black"


@pytest.mark.parametrize(
    ("mask_value", "others"),
    [(0.5, ["blur", "white"]), (1.0, ["blur", "gray"]), (0.3, ["blur", "gray", "white"])],
)
def test_the_tasks_own_mask_is_not_measured_twice(mask_value: float, others: list[str]) -> None:
    task = replace(toys.task(), mask_value=mask_value)
    measuring = Measuring(None, ("gray", "white", "blur", "white"), task)
    assert sorted({facts.fill for facts in measuring.facts().values()}) == others
    measured = measuring.measured(scored(task, task.rows))
    assert sorted({name.partition("[")[2] for name in measured} - {""}) == [
        f"{fill}]" for fill in others
    ]


def test_agreement_is_of_every_two_on_the_rows_they_share() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    second = torch.tensor([[2.0, 0.0], [0.0, -1.0]])
    _, cosines = agreements({"a": first, "b": second}, {"a": first, "b": second})
    assert cosines.names == ["a", "b"]
    assert np.array(cosines.values) == pytest.approx(np.array([[1, 0], [0, 1]]))
    assert agreements({"a": first}, {"a": first}) == []


def test_several_seeds_tell_how_stable_an_explainer_is() -> None:
    names = (f"{toys.MODULE}:all_at_once", f"{toys.MODULE}:drawing")
    results = run_benchmark(toys.task(), names, seeds=3)
    stable = results.measurement("all_at_once", "seed_stability")
    assert stable.n == toys.N_ROWS
    assert 0 < results.measurement(names[1], "seed_stability").value < 1


def test_every_metric_states_its_facts() -> None:
    task = toys.task()
    results = run_benchmark(task, [f"{toys.MODULE}:all_at_once"], fills=("blur",))
    for facts in results.metrics.values():
        assert set(facts) >= {"higher_is_better", "range", "inputs", "source", "description"}
    for line in results.rows:
        low, high = results.metrics[line["metric"]]["range"]
        assert low is None or line["value"] >= low - 1e-6
        assert high is None or line["value"] <= high + 1e-6
    measured = {
        metric for each in MEASURES.values() if "image" in each.default for metric in each.metrics
    }
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
    with pytest.raises(InvalidInputError, match="masking can be measured on images only"):
        Measuring(("masking",), (), table())
    assert Measuring(None, (), table()).names == ["sparseness", "faithfulness"]


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
