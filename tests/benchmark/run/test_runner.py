"""The runner on a task in miniature, with explainers that misbehave."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_toys import Bright
from torch import Tensor

from xai_adapters.benchmark.results.results import Measurement
from xai_adapters.benchmark.run import attribution_bench
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import (
    InvalidInputError,
    MissingDependencyError,
    NotApplicableError,
    UnknownNameError,
)
from xai_adapters.fimap import MinimalPerturbation
from xai_adapters.registry import ExplainerEntry, FunctionExplainer, Subject, lookup

pytest.importorskip("tqdm")


@pytest.fixture
def task() -> Task:
    generator = torch.Generator().manual_seed(0)
    return Task(
        "tiny", "tiny images", "image", Bright().eval(),
        rows=torch.rand(6, 1, 4, 4, generator=generator),
        background=torch.rand(64, 1, 4, 4, generator=generator),
        class_names=("dark", "bright"),
    )  # fmt: skip


def entry(explain: Callable[[Tensor, Tensor], Any], **facts: Any) -> ExplainerEntry:
    return ExplainerEntry("", "for a test", lambda _: FunctionExplainer(explain), **facts)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def add(**entries: ExplainerEntry) -> None:
        named = {name: dataclasses.replace(e, name=name) for name, e in entries.items()}
        known = {**lookup.built_in(), **named}
        monkeypatch.setattr(lookup, "built_in", lambda: known)

    return add


def alike(first: Measurement, second: Measurement) -> bool:
    """Whether two explainers were measured alike."""
    return dataclasses.replace(first, explainer="", behind=None) == dataclasses.replace(
        second, explainer="", behind=None
    )


def left_column(rows: Tensor, _: Tensor) -> Tensor:
    scores = torch.zeros_like(rows)
    scores[..., 0] = 1
    return scores


def test_explainers_are_measured_and_the_rows_kept(task: Task, register: Callable[..., None]):
    register(
        right=entry(left_column),
        wrong=entry(lambda rows, t: -left_column(rows, t)),
        by_size=entry(lambda rows, t: -left_column(rows, t), rank_by="magnitude"),
    )
    results = run_benchmark(task, ["right", "wrong", "by_size"])
    areas = {name: results.measurement(name, "masking_area") for name in ("right", "wrong")}
    assert areas["right"].value < areas["wrong"].value
    assert alike(results.measurement("by_size", "masking_area"), areas["right"])
    assert areas["right"].n == 6
    assert areas["right"].low <= areas["right"].value <= areas["right"].high
    curve = next(c for c in results.curves if c.explainer == "right")
    for threshold, value in zip(curve.thresholds, curve.values, strict=True):
        of_rows = [
            row["value"]
            for row in results.rows
            if (row["explainer"], row["metric"], row["threshold"])
            == ("right", "masking_curve", threshold)
        ]
        assert len(of_rows) == 6
        assert np.mean(of_rows) == pytest.approx(value)
    assert results.gallery.rows.shape == (6, 1, 4, 4)
    assert results.gallery.maps["right"].shape == (6, 4, 4)
    assert results.gallery.signed == {"right": False, "wrong": True, "by_size": False}
    assert len(results.gallery.titles) == 6


MISBEHAVIOURS = {
    "raises": (lambda rows, t: 1 / 0, "ZeroDivisionError"),
    "nothing": (lambda rows, t: None, "AttributeError"),
    "short": (lambda rows, t: rows[:, :, :2], "shape"),
    "not_finite": (lambda rows, t: rows * float("nan"), "scores of row 0 are not finite"),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_one_that_misbehaves_is_a_row_and_the_others_go_on(
    task: Task, register: Callable[..., None], name: str
):
    explain, reason = MISBEHAVIOURS[name]
    register(bad=entry(explain), good=entry(left_column))
    results = run_benchmark(task, ["bad", "good"])
    bad, good = results.explainers
    assert (bad.status, good.status) == ("error", "ok")
    assert reason in bad.reason
    assert "\n" not in bad.reason
    assert {m.explainer for m in results.measurements} == {"good"}


@pytest.mark.parametrize("error", [NotApplicableError, MissingDependencyError])
def test_one_that_cannot_serve_is_listed_with_the_reason(
    task: Task, register: Callable[..., None], error: type[Exception]
):
    def refuse(_: Subject) -> Any:
        raise error("needs a tree")

    register(tree=ExplainerEntry("", "for a test", refuse))
    (run,) = run_benchmark(task, ["tree"]).explainers
    assert (run.status, run.reason) == ("not applicable", "needs a tree")


def test_an_explainer_cannot_spoil_the_model_or_the_random_state_for_others(
    task: Task, register: Callable[..., None]
):
    def vandal(subject: Subject) -> Any:
        with torch.no_grad():
            subject.model.scale.zero_()
        subject.model.register_forward_hook(lambda *_: 1 / 0)
        return FunctionExplainer(lambda rows, _: torch.rand(rows.shape))

    register(vandal=ExplainerEntry("", "", vandal), good=entry(left_column))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    both = run_benchmark(task, ["vandal", "good"])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    alone = run_benchmark(task, ["good"])
    assert both.measurement("good", "masking_area") == alone.measurement("good", "masking_area")
    again = run_benchmark(task, ["vandal"])
    assert both.measurement("vandal", "masking_area") == again.measurement("vandal", "masking_area")


def test_an_explainer_out_of_time_is_measured_on_the_rows_it_finished(
    task: Task, register: Callable[..., None]
):
    def explain(rows: Tensor, _: Tensor) -> Tensor:
        time.sleep(0.02)
        return rows

    register(slow=entry(explain, block_size=2))
    # Any explanation takes longer than that.
    results = run_benchmark(task, ["slow"], time_limit=1e-9)
    (run,) = results.explainers
    assert (run.status, run.n_rows) == ("ok", 2)
    assert run.reason == "stopped after 1e-09 s; 2 of 6 rows are explained"
    assert run.seconds_per_row >= 0.01
    assert results.measurement("slow", "masking_area").n == 2
    assert results.gallery.maps == {}


def test_blocks_change_nothing(task: Task, register: Callable[..., None]):
    register(
        whole=entry(lambda rows, t: rows * t[:, None, None, None]),
        blocks=entry(lambda rows, t: rows * t[:, None, None, None], block_size=4),
    )
    results = run_benchmark(task, ["whole", "blocks"])
    whole, blocks = (results.measurement(name, "masking_area") for name in ("whole", "blocks"))
    assert alike(whole, blocks)


def test_a_counterfactual_explainers_word_is_checked_on_the_black_box(
    task: Task, register: Callable[..., None]
):
    class Fooled:
        """Perturbs only what its surrogate looks at: the right column."""

        def __init__(self, _: Subject) -> None:
            X = torch.randn(256, 16, generator=torch.Generator().manual_seed(0))
            self.fitted = MinimalPerturbation(epochs=8).fit(X, lambda X: X[:, 3] > 0)

        def explain(self, rows: Tensor, target: Tensor) -> Tensor:
            return rows

        def perturb(self, rows: Tensor, original_class: Tensor) -> Any:
            return self.fitted.perturb(rows.flatten(1), original_class=original_class)

    register(fooled=ExplainerEntry("", "", Fooled))
    results = run_benchmark(task, ["fooled"])
    assert results.measurement("fooled", "adversarial_accuracy").value > 0.8
    assert results.measurement("fooled", "validity").value < 0.5


def test_table_rows_are_compared_with_lime(register: Callable[..., None]):
    class Sign:
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.stack((X[:, 0] <= 0, X[:, 0] > 0), axis=1).astype(float)

    rows = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    table = Task("t", "t", "tabular", Sign(), rows, rows, ("a", "b"), feature_names=("x", "y"))
    register(
        lime_tabular=entry(lambda rows, t: torch.ones_like(rows)),
        same=entry(lambda rows, t: 2 * torch.ones_like(rows)),
        opposite=entry(lambda rows, t: -torch.ones_like(rows)),
    )
    results = run_benchmark(table, ["same", "lime_tabular", "opposite"], metrics=())
    cosines = {m.explainer: m.value for m in results.measurements}
    assert cosines == pytest.approx({"same": 1, "opposite": -1})
    assert results.curves == []
    assert set(results.gallery.titles) <= {"a", "b"}


def test_bad_requests_are_refused_before_any_work(task: Task):
    with pytest.raises(UnknownNameError, match="Did you mean 'saliency'"):
        run_benchmark(task, ["random", "salienzy"])
    with pytest.raises(InvalidInputError, match="no explainers"):
        run_benchmark(task, [])
    with pytest.raises(InvalidInputError, match="time_limit must be more than 0, is 0"):
        run_benchmark(task, ["random"], time_limit=0)


def test_settings_and_environment_say_how_to_repeat_the_run(task: Task):
    results = run_benchmark(task, ["random"], seed=3)
    assert results.settings["seed"] == 3
    assert results.settings["explainers"] == ["random"]
    assert results.task["mask_value"] == 0.5
    assert results.task["data_hash"] == task.data_hash()
    assert results.environment["versions"]["torch"] == torch.__version__
    other = dataclasses.replace(task, rows=task.rows + 1e-3)
    assert other.data_hash() != task.data_hash()


def test_the_results_hold_each_explainers_own_settings(task: Task) -> None:
    tuned = SimpleNamespace(
        explain=left_column,
        settings={
            "penalty": 3,
            "optimizer": torch.optim.Adam,
            "widths": (0.5, 1.0),
            "bounds": torch.tensor([0.0, 1.0]),
            "of": {("a", "b"): object()},
        },
    )
    entries = [
        ExplainerEntry("tuned", "", lambda _: tuned, block_size=4),
        ExplainerEntry("plain", "", lambda _: FunctionExplainer(left_column)),
    ]
    results = run_benchmark(task, [*entries, "invariant_box"])
    first, second, box = (run.settings for run in results.explainers)
    own = {
        "penalty": 3,
        "optimizer": "Adam",
        "widths": [0.5, 1.0],
        "bounds": [0.0, 1.0],
        "of": {"('a', 'b')": "object"},
    }
    assert first == {"rank_by": "value", "block_size": 4, **own}
    assert second == {"rank_by": "value", "block_size": None}
    assert (box["penalty"], box["schedule"], box["bounds"]) == (1.0, "linear", [0.0, 1.0])


def taking(n_bytes: int) -> Callable[[Subject], Any]:
    """An explainer that holds so much memory while it explains."""

    def make(subject: Subject) -> Any:
        def explain(rows: Tensor, target: Tensor) -> Tensor:
            held = torch.ones(n_bytes, dtype=torch.uint8)
            return rows if held.all() else -rows

        return FunctionExplainer(explain)

    return make


def test_memory_is_what_the_explainer_holds_and_not_what_measuring_does(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the operating system does not tell")
    really = attribution_bench.AttributionBench.measure

    def greedy(*arguments: Any) -> Any:
        assert torch.ones(300_000_000, dtype=torch.uint8)[-1]
        return really(*arguments)

    monkeypatch.setattr(attribution_bench.AttributionBench, "measure", greedy)
    sizes = {"nothing": 0, "much": 100_000_000}
    entries = [ExplainerEntry(name, "", taking(size), block_size=2) for name, size in sizes.items()]
    held = {run.name: run.costs["peak_memory"] for run in run_benchmark(task, entries).explainers}
    assert held["nothing"] < 50e6
    assert 90e6 < held["much"] < 200e6


def test_the_model_is_warm_before_the_first_explainer(task: Task) -> None:
    class Counted(Bright):
        n_calls = 0

        def forward(self, images: Tensor) -> Tensor:
            type(self).n_calls += 1
            torch.rand(())  # a model that draws changes no numbers
            return super().forward(images)

    def calls(subject: Subject) -> Any:
        calls_before.append((Counted.n_calls, torch.rand(()).item()))
        return FunctionExplainer(lambda rows, target: rows)

    calls_before: list[tuple[int, float]] = []
    counted = dataclasses.replace(task, model=Counted().eval())
    state = torch.get_rng_state()
    run_benchmark(counted, [ExplainerEntry("calls", "", calls)])
    # Once for the classes; once, forwards and backwards, to be warm.
    assert calls_before[0][0] == 3
    assert counted.model.scale.grad is None
    assert torch.equal(torch.get_rng_state(), state)


def test_an_explainer_that_works_in_place_is_named_and_changes_no_other(task: Task) -> None:
    def centred(subject: Subject) -> FunctionExplainer:
        def explain(rows: Tensor, _: Tensor) -> Tensor:
            rows -= subject.background.mean(dim=0)
            return rows

        return FunctionExplainer(explain)

    def spoiling(subject: Subject) -> FunctionExplainer:
        subject.background.zero_()
        return FunctionExplainer(left_column)

    given = task.rows.clone(), task.background.clone()
    others = ["random", "greedy"]
    alone = run_benchmark(task, others)
    bad = [ExplainerEntry("centred", "", centred), ExplainerEntry("spoiling", "", spoiling)]
    beside = run_benchmark(task, [*bad, *others])
    remarks = {run.name: run.reason for run in beside.explainers}
    assert remarks == {
        "centred": "it overwrites the rows it is given; here these are copies",
        "spoiling": "it overwrites the background rows it is given; here these are copies",
        "random": "",
        "greedy": "",
    }
    assert beside.measurement("random", "masking_area").value == (
        alone.measurement("random", "masking_area").value
    )
    assert torch.equal(task.rows, given[0])
    assert torch.equal(task.background, given[1])
