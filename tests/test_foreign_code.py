"""Predictors that work in place, reuse their memory or keep what they are given change nothing.

Each way into the package explains the same rows with a predictor that behaves and with one that
does not; what comes out must be the same, and the caller's rows must be as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xai_adapters import BlackBox, InvariantBox, MinimalPerturbation
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.guarantees import attack_box
from xai_adapters.semifactual import SemifactualBox

FIT = {"epochs": 4, "query_rounds": 1, "surrogate_widths": (20,), "perturber_widths": (20,)}
SEARCH = {"n_steps": 10}


def rows(n: int, seed: int) -> Tensor:
    """Positive rows (n, 3), about half of them of each class."""
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).exp()


class Arrays:
    """Predictors of arrays that decide by the logarithm of the first column."""

    @staticmethod
    def plain(X: np.ndarray) -> np.ndarray:
        p = 1 / (1 + X[:, 0] ** -3.0)
        return np.stack((1 - p, p), axis=1)

    @staticmethod
    def in_place(X: np.ndarray) -> np.ndarray:
        answer = Arrays.plain(X)
        np.log(X, out=X)
        X[:, 1] = np.nan
        return answer

    @staticmethod
    def keeping() -> Callable[[np.ndarray], np.ndarray]:
        """A predictor that spoils, in each call, what it was given and returned before."""
        kept: list[np.ndarray] = []

        def predictor(X: np.ndarray) -> np.ndarray:
            for array in kept:
                array[:] = np.nan
            answer = Arrays.plain(X)
            kept[:] = [X, answer]
            return answer

        return predictor


class Plain(nn.Module):
    """The same decision, as a network."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, X: Tensor) -> Tensor:
        score = self.scale * X[:, 0].clamp(min=0.01).log()
        return torch.stack((torch.zeros_like(score), score), dim=1)


class InPlace(Plain):
    """A network whose first layer overwrites its input."""

    def forward(self, X: Tensor) -> Tensor:
        score = self.scale * X.clamp_(min=0.01).log_()[:, 0]
        return torch.stack((torch.zeros_like(score), score), dim=1)


class Keeping(Plain):
    """A network that spoils, in each call, what it was given and returned before."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, X: Tensor) -> Tensor:
        outputs = super().forward(X)
        for tensor in self.kept:
            tensor.data.fill_(torch.nan)
        self.kept = [X.detach(), outputs.detach()]
        return outputs


def perturbed(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    explainer = MinimalPerturbation(**FIT).fit(fitted, model)
    found = explainer.perturb(X, black_box=model, line_search=True, sparsify=True)
    return [found.original, found.perturbed, found.success, found.length]


def in_batches(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    return [BlackBox(model, batch_size=7).probabilities(X)]


def boxed(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    found = InvariantBox(**SEARCH, internal_batch_size=7).solve(model, X)
    return [found.lower, found.upper, found.violation_rate]


def attacked(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    found = attack_box(model, X, X - 0.1, X + 0.1, n_restarts=2, n_steps=3)
    return [found.point, found.margin]


def semifactual(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    black_box = ArrayBlackBox(model)
    box = SemifactualBox(surrogate=FIT, **SEARCH).fit(fitted, black_box)
    found = box.explain(X, black_box)
    return [found.lower, found.upper, found.counterfactual]


def captum_fimap(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    FIMAP = pytest.importorskip("xai_adapters.captum", exc_type=ImportError).FIMAP
    explainer = FIMAP(model, **FIT).fit(fitted)
    return [explainer.attribute(X, target=1), explainer.perturb(X, line_search=True)]


def captum_box(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    host = pytest.importorskip("xai_adapters.captum", exc_type=ImportError)
    return [host.MaximalInvariantPerturbation(model, **SEARCH).attribute(X)]


def alibi(name: str) -> Callable[[Any, Tensor, Tensor], list[Any]]:
    def explained(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
        host = __import__("xai_adapters.alibi", fromlist=[name])
        options = FIT if name == "FIMAPCounterfactual" else {"surrogate": FIT, **SEARCH}
        explainer = getattr(host, name)(model, **options).fit(fitted.numpy())
        data = explainer.explain(X.numpy()).data
        return [data["cf"]["X"], data["cf"]["proba"], data["orig_proba"], data["success"]]

    return explained


def shap(name: str) -> Callable[[Any, Tensor, Tensor], list[Any]]:
    def explained(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
        pytest.importorskip("shap")
        host = __import__("xai_adapters.shap", fromlist=[name])
        options = FIT if name == "FIMAPExplainer" else {"surrogate": FIT, **SEARCH}
        explanation = getattr(host, name)(model, fitted.numpy(), **options)(X.numpy())
        return [explanation.values, explanation.base_values, explanation.data]

    return explained


def benchmarked(model: Any, X: Tensor, fitted: Tensor) -> list[Any]:
    pytest.importorskip("pyarrow")
    benchmark = pytest.importorskip("xai_adapters.benchmark", exc_type=ImportError)
    task = benchmark.task_of(model, X, background=fitted)
    results = benchmark.run_benchmark(task, ["random", "greedy"])
    return [np.array([m.value for m in results.measurements if m.value is not None])]


OF_ARRAYS = {
    "fimap": perturbed,
    "batches": in_batches,
    "semifactual box": semifactual,
    "alibi fimap": alibi("FIMAPCounterfactual"),
    "alibi box": alibi("InvariantBoxCounterfactual"),
    "shap fimap": shap("FIMAPExplainer"),
    "shap box": shap("InvariantBoxExplainer"),
    "benchmark": benchmarked,
}
OF_NETWORKS = {
    **OF_ARRAYS,
    "box": boxed,
    "attack": attacked,
    "captum fimap": captum_fimap,
    "captum box": captum_box,
}


def assert_nothing_changes(explain: Any, plain: Any, bad: Any) -> None:
    X, fitted = rows(23, seed=1), rows(200, seed=0)
    expected = explain(plain, X, fitted)
    assert any(np.asarray(value).any() for value in expected)
    for found, value in zip(explain(bad, X, fitted), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(value))
    assert torch.equal(X, rows(23, seed=1))
    assert torch.equal(fitted, rows(200, seed=0))


@pytest.mark.parametrize("bad", ["in_place", "keeping"])
@pytest.mark.parametrize("entry", OF_ARRAYS)
def test_a_predictor_of_arrays_cannot_change_the_rows(entry: str, bad: str) -> None:
    predictor = Arrays.in_place if bad == "in_place" else Arrays.keeping()
    assert_nothing_changes(OF_ARRAYS[entry], Arrays.plain, predictor)


@pytest.mark.parametrize("bad", [InPlace, Keeping])
@pytest.mark.parametrize("entry", OF_NETWORKS)
def test_a_network_cannot_change_the_rows(entry: str, bad: type[Plain]) -> None:
    assert_nothing_changes(OF_NETWORKS[entry], Plain(), bad())
