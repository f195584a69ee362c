"""Columns of frames are matched by their names, in every way into the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xai_adapters import MinimalPerturbation
from xai_adapters.errors import InvalidInputError
from xai_adapters.features.columns import column_names, in_order_of

pandas = pytest.importorskip("pandas")

FIT = {"epochs": 3, "query_rounds": 1, "surrogate_widths": (20,), "perturber_widths": (20,)}
NAMES = ["age", "income", "debt"]


def frame(n: int, seed: int) -> Any:
    """Columns on scales so different that a mix-up shows."""
    rng = np.random.default_rng(seed)
    return pandas.DataFrame(rng.normal(size=(n, 3)) * [1, 100, 1e4], columns=NAMES)


def predictor(X: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-(X[:, 0] + X[:, 1] / 100)))
    return np.stack((1 - p, p), axis=1)


def core(fitted: Any) -> Callable[[Any], Any]:
    explainer = MinimalPerturbation(**FIT).fit(fitted, predictor)
    return lambda X: explainer.perturb(X).perturbed.numpy()


def saved_core(fitted: Any, path: Path) -> Callable[[Any], Any]:
    MinimalPerturbation(**FIT).fit(fitted, predictor).save(path)
    explainer = MinimalPerturbation.load(path)
    return lambda X: explainer.perturb(X).perturbed.numpy()


def alibi(name: str) -> Callable[[Any], Callable[[Any], Any]]:
    def made(fitted: Any) -> Callable[[Any], Any]:
        host = __import__("xai_adapters.alibi", fromlist=[name])
        options = FIT if name == "FIMAPCounterfactual" else {"surrogate": FIT, "n_steps": 5}
        explainer = getattr(host, name)(predictor, **options).fit(fitted)
        return lambda X: explainer.explain(X).data["cf"]["X"]

    return made


def saved_alibi(fitted: Any, path: Path) -> Callable[[Any], Any]:
    host = __import__("xai_adapters.alibi", fromlist=["FIMAPCounterfactual"])
    host.FIMAPCounterfactual(predictor, **FIT).fit(fitted).save(path)
    explainer = host.FIMAPCounterfactual.load(path, predictor)
    return lambda X: explainer.explain(X).data["cf"]["X"]


def shap(name: str) -> Callable[[Any], Callable[[Any], Any]]:
    def made(fitted: Any) -> Callable[[Any], Any]:
        pytest.importorskip("shap")
        host = __import__("xai_adapters.shap", fromlist=[name])
        options = FIT if name == "FIMAPExplainer" else {"surrogate": FIT, "n_steps": 5}
        explainer = getattr(host, name)(predictor, fitted, **options)

        def explain(X: Any) -> Any:
            explanation = explainer(X)
            assert list(explanation.feature_names) == NAMES
            assert (explanation.data == frame(7, seed=1).to_numpy()).all()
            return explanation.values

        return explain

    return made


ENTRIES = {
    "core": core,
    "alibi fimap": alibi("FIMAPCounterfactual"),
    "alibi box": alibi("InvariantBoxCounterfactual"),
    "shap fimap": shap("FIMAPExplainer"),
    "shap box": shap("InvariantBoxExplainer"),
}


def assert_by_name(explain: Callable[[Any], Any]) -> None:
    rows = frame(7, seed=1)
    expected = explain(rows)
    np.testing.assert_array_equal(explain(rows[["debt", "age", "income"]]), expected)
    with pytest.raises(InvalidInputError, match="the rows lack the column 'debt'; hand over"):
        explain(rows[["income", "age"]])
    with pytest.raises(
        InvalidInputError, match=r"have, unlike those that were fitted to, .*'rent'"
    ):
        explain(rows.assign(rent=1.0))


@pytest.mark.parametrize("entry", ENTRIES)
def test_columns_are_matched_by_name(entry: str) -> None:
    assert_by_name(ENTRIES[entry](frame(200, seed=0)))


@pytest.mark.parametrize("saved", [saved_core, saved_alibi])
def test_a_loaded_explainer_knows_the_names(saved: Any, tmp_path: Path) -> None:
    assert_by_name(saved(frame(200, seed=0), tmp_path / "explainer"))


def test_names_that_are_not_unique_tell_nothing() -> None:
    twice = frame(3, seed=0).set_axis(["a", "a", "b"], axis=1)
    assert column_names(twice) is None
    assert in_order_of(twice, None) is twice
    assert column_names(frame(3, seed=0).to_numpy()) is None
