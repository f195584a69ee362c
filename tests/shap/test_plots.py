"""Every plot of shap's that the documentation names draws what our explainers give."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import shap
from counterfactuals import QUICK, normal

from xai_adapters.shap import FIMAPExplainer, InvariantBoxExplainer

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Where to leave the drawings, to look at them.
FOLDER = os.environ.get("XAI_ADAPTERS_PLOTS")
NAMES = ["age", "income", "debt", "children"]


def lends(rows: np.ndarray) -> np.ndarray:
    """The probability that the bank lends: income helps, debt does not, children are nothing."""
    return 1 / (1 + np.exp(-(2 * rows[:, 1] - 1.5 * rows[:, 2] + 0.5 * rows[:, 0])))


def two_classes(rows: np.ndarray) -> np.ndarray:
    return np.stack([1 - lends(rows), lends(rows)], axis=1)


def bright_left(images: np.ndarray) -> np.ndarray:
    left, right = images[:, :, :4].mean(axis=(1, 2, 3)), images[:, :, 4:].mean(axis=(1, 2, 3))
    return np.stack([right - left, left - right], axis=1)


@pytest.fixture(scope="module", params=["one output", "a class of two", "a box"])
def explanation(request) -> shap.Explanation:
    X = normal(300, 4)
    if request.param == "a box":
        settings = QUICK["InvariantBoxCounterfactual"]
        return InvariantBoxExplainer(lends, X, feature_names=NAMES, **settings)(X[:40])
    settings = QUICK["FIMAPCounterfactual"]
    if request.param == "one output":
        return FIMAPExplainer(lends, X, feature_names=NAMES, **settings)(X[:40])
    return FIMAPExplainer(two_classes, X, feature_names=NAMES, **settings)(X[:40])[..., 1]


PLOTS = {
    "bar": lambda explanation: shap.plots.bar(explanation, show=False),
    "bar of a row": lambda explanation: shap.plots.bar(explanation[0], show=False),
    "beeswarm": lambda explanation: shap.plots.beeswarm(explanation, show=False),
    "scatter": lambda explanation: shap.plots.scatter(explanation[:, 1], show=False),
    "heatmap": lambda explanation: shap.plots.heatmap(explanation, show=False),
    "waterfall": lambda explanation: shap.plots.waterfall(explanation[0], show=False),
    "force": lambda explanation: shap.plots.force(explanation[0], matplotlib=True, show=False),
}


def drawn(name: str, request) -> None:
    """Something was drawn; it is kept where somebody wants to look at it."""
    figure = plt.gcf()
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    if FOLDER:
        figure.savefig(
            Path(FOLDER, f"{request.node.name.replace('/', ' ')}.png"), bbox_inches="tight"
        )
    plt.close("all")
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10, f"{name} is empty"


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_is_drawn(plot, explanation, request):
    PLOTS[plot](explanation)
    drawn(plot, request)


@pytest.mark.parametrize("kind", [FIMAPExplainer, InvariantBoxExplainer])
def test_images_are_drawn(kind, request):
    settings = QUICK["FIMAPCounterfactual"]
    if kind is InvariantBoxExplainer:
        settings = QUICK["InvariantBoxCounterfactual"]
    images = np.random.default_rng(0).uniform(size=(300, 8, 8, 1))
    explanation = kind(bright_left, images, output_type="logits", scale="shared", **settings)(
        images[:2]
    )
    shap.plots.image(explanation, show=False)
    drawn("image", request)
