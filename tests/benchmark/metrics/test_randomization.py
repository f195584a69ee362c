"""Whether an explainer looks at the model: layers randomised from the output on."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import benchmark_toys as toys
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from xai_adapters.benchmark.metrics.randomization import SHARES, randomized
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.from_python import task_of
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import ExplainerEntry, FunctionExplainer, Subject

SIZES = (6, 8, 8, 8, 3)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pairs = pairwise(SIZES)
        return nn.Sequential(*(m for a, b in pairs for m in (nn.Linear(a, b), nn.Tanh()))).eval()


@given(st.floats(0, 1), st.integers(0, 5))
@settings(max_examples=20)
def test_the_last_layers_are_drawn_anew_and_the_others_stay(share: float, seed: int) -> None:
    model = network()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    changed, all_changed = randomized(model, share, seed), randomized(model, 1.0, seed)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], held) for name, held in model.state_dict().items())
    n = int(np.ceil(share * 4))
    triples = zip(model[::2], changed[::2], all_changed[::2], strict=True)
    for place, (old, new, whole) in enumerate(triples):
        # Drawn alike, however many there are.
        assert torch.equal(new.weight, whole.weight if place >= 4 - n else old.weight)
        assert torch.equal(new.bias, whole.bias if place >= 4 - n else old.bias)
        assert not torch.equal(whole.weight, old.weight)


def test_random_numbers_have_the_size_of_what_they_replace() -> None:
    model = nn.Sequential(nn.Linear(400, 300), nn.BatchNorm1d(300))
    model[0].weight.data *= 7
    changed = randomized(model, 1.0, 0)
    for old, new in zip(model.parameters(), changed.parameters(), strict=True):
        assert new.norm().item() == pytest.approx(old.norm().item(), rel=0.2)
    assert torch.equal(changed[1].running_var, model[1].running_var)


def task() -> Task:
    rows = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    return task_of(network(), rows)


def gradients(model: nn.Module, rows: Tensor, target: Tensor) -> Tensor:
    with torch.enable_grad():
        rows = rows.clone().requires_grad_()
        outputs = model(rows).gather(1, target[:, None])
        return torch.autograd.grad(outputs.sum(), rows)[0]


def saliency(subject: Subject) -> FunctionExplainer:
    return FunctionExplainer(lambda rows, target: gradients(subject.network(), rows, target))


def measured(*entries: Any, **how: Any) -> Results:
    return run_benchmark(task(), entries, metrics=("randomization",), **how)


def values(results: Results, name: str, metric: str = "randomization") -> list[float]:
    return [
        line["value"]
        for line in results.rows
        if (line["explainer"], line["metric"]) == (name, metric)
    ]


SALIENCY = ExplainerEntry("saliency", "", saliency, rank_by="magnitude")


def test_the_metric_is_the_rank_correlation_with_the_randomised_models_scores() -> None:
    stats = pytest.importorskip("scipy.stats")
    results = measured(SALIENCY, seed=3)
    model, rows = network(), task().rows
    target = model(rows).argmax(dim=1)
    own = gradients(model, rows, target).abs()
    expected = [
        [
            stats.spearmanr(a, b).statistic
            for a, b in zip(
                own, gradients(randomized(model, share, 3), rows, target).abs(), strict=True
            )
        ]
        for share in SHARES
    ]
    curve = np.array(values(results, "saliency", "randomization_curve")).reshape(9, 4)
    np.testing.assert_allclose(curve, np.transpose(expected), atol=1e-6)
    assert values(results, "saliency") == pytest.approx(expected[-1])
    mean = results.measurement("saliency", "randomization").value
    assert abs(mean) < 0.5


def test_who_does_not_look_at_the_model_gets_1_random_scores_included() -> None:
    names = [f"{toys.MODULE}:drawing", f"{toys.MODULE}:in_pairs"]
    results = run_benchmark(toys.task(), names, metrics=("randomization",), seed=2)
    for run in results.explainers:
        found = values(results, run.name, "randomization_curve")
        assert found == pytest.approx([1.0] * 4 * toys.N_ROWS)


def test_blocks_change_nothing_and_each_model_is_fitted_once() -> None:
    made: list[nn.Module] = []

    def fitted(subject: Subject) -> FunctionExplainer:
        made.append(subject.model)
        weights = torch.rand(6)
        explain = saliency(subject).explain
        return FunctionExplainer(lambda rows, target: weights * explain(rows, target))

    entry = ExplainerEntry("fitted", "", fitted)
    whole, in_blocks = measured(entry), measured(entry, block_size=2)
    assert values(whole, "fitted") == pytest.approx(values(in_blocks, "fitted"), abs=1e-6)
    assert len(made) == 2 * (1 + len(SHARES))


def test_scores_that_are_not_finite_for_a_randomised_model_are_not_measured() -> None:
    first = network()[0].weight

    def touchy(subject: Subject) -> FunctionExplainer:
        known = torch.equal(next(subject.model.parameters()), first)
        return FunctionExplainer(lambda rows, target: rows if known else rows / 0)

    results = measured(ExplainerEntry("touchy", "", touchy))
    assert [run.status for run in results.explainers] == ["ok"]
    assert values(results, "touchy") == []


def test_it_is_of_modules_with_parameters() -> None:
    for model in (nn.Softmax(dim=1), lambda X: np.eye(2)[[0] * len(X)]):
        with pytest.raises(InvalidInputError, match="randomization: needs torch modules"):
            run_benchmark(task_of(model, torch.rand(3, 2)), metrics=("randomization",))
