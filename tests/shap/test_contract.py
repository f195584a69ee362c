"""What code written for shap's explainers relies on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shap
import torch
from counterfactuals import QUICK, Estimator, labels, network, normal, three_classes
from torch import nn

from xai_adapters import Categorical, Continuous, FeatureSchema, MinimalPerturbation
from xai_adapters.errors import ConstantPredictorError, InvalidInputError, NotFittedError
from xai_adapters.shap import FIMAPExplainer, InvariantBoxExplainer

X = normal(300, 3)
ROWS = normal(8, 3, seed=1)
SETTINGS = {
    FIMAPExplainer: QUICK["FIMAPCounterfactual"],
    InvariantBoxExplainer: QUICK["InvariantBoxCounterfactual"],
}
BOTH = list(SETTINGS)
PREDICTORS = {
    "function": three_classes,
    "module": network(),
    "labels": labels,
    "estimator": Estimator(),
}


def one_number(rows: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-3 * rows[:, 0]))


def made(kind, model=three_classes, background=X, **arguments):
    return kind(model, background, **{**SETTINGS[kind], **arguments})


@pytest.fixture(scope="module")
def fimap() -> FIMAPExplainer:
    return made(FIMAPExplainer)


@pytest.mark.parametrize("name", PREDICTORS)
def test_fimaps_values_have_a_layer_for_each_class(name):
    explanation = made(FIMAPExplainer, PREDICTORS[name])(ROWS)
    assert isinstance(explanation, shap.Explanation)
    assert explanation.values.shape == (8, 3, 3)
    assert explanation.base_values.shape == (8, 3)
    assert (explanation.data == ROWS).all()
    assert np.isfinite(explanation.values).all()


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_boxs_values_are_relevance(name):
    explanation = made(InvariantBoxExplainer, PREDICTORS[name])(ROWS)
    assert explanation.values.shape == (8, 3)
    assert explanation.base_values.shape == (8,)
    assert (explanation.values >= 0).all()
    assert (explanation.values.min(axis=1) == 0).all()
    # The third feature has no part in the decision.
    assert explanation.values[:, 2].mean() < 0.3 * explanation.values[:, :2].max(axis=1).mean()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("model", [one_number, lambda rows: one_number(rows)[:, None]])
def test_a_model_with_one_output_has_values_shaped_like_the_rows(kind, model):
    explanation = made(kind, model)(ROWS)
    assert explanation.values.shape == (8, 3)
    assert explanation.base_values.shape == (8,)
    if kind is FIMAPExplainer:
        assert (explanation.values[:, 0] > 0).all()


def test_values_point_towards_their_class_in_standard_deviations(fimap):
    scale = np.array([10.0, 0.1, 1.0])
    explainer = made(FIMAPExplainer, lambda rows: three_classes(rows / scale), X * scale)
    explanation = explainer(ROWS * scale)
    np.testing.assert_allclose(explanation.values, fimap(ROWS).values, atol=0.02)
    np.testing.assert_allclose(explainer.unit, scale * X.std(axis=0), rtol=1e-5)
    original_class = three_classes(ROWS).argmax(axis=1)
    flips = []
    for target in range(3):
        moves = explanation.values[..., target] * explainer.unit.numpy()
        own = (original_class == target)[:, None]
        there = three_classes((ROWS * scale + np.where(own, -moves, moves)) / scale).argmax(axis=1)
        flips.append(np.where(original_class == target, there != original_class, there == target))
    assert np.mean(flips) > 0.9


def test_values_are_those_of_the_core(fimap):
    core = MinimalPerturbation(**SETTINGS[FIMAPExplainer])
    core.fit(torch.from_numpy(X), three_classes)
    original_class = torch.from_numpy(three_classes(ROWS).argmax(axis=1))
    leaving = core.perturb(ROWS, original_class=original_class).perturbation.numpy() / X.std(axis=0)
    own = fimap(ROWS).values[np.arange(8), :, original_class.numpy()]
    np.testing.assert_allclose(own, -leaving, rtol=1e-4, atol=1e-6)


def test_base_values_are_the_backgrounds_mean(fimap):
    mean = three_classes(X).mean(axis=0)
    np.testing.assert_allclose(fimap(ROWS).base_values, np.tile(mean, (8, 1)), rtol=1e-5)
    np.testing.assert_allclose(fimap.expected_value, mean, rtol=1e-5)
    box = made(InvariantBoxExplainer)(ROWS)
    own = three_classes(ROWS).argmax(axis=1)
    np.testing.assert_allclose(box.base_values, mean[own], rtol=1e-5)
    single = made(FIMAPExplainer, one_number)
    assert isinstance(single.expected_value, float)
    np.testing.assert_allclose(single(ROWS).base_values, one_number(X).mean(), rtol=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_old_code_finds_shap_values(kind):
    explainer = made(kind)
    values = explainer.shap_values(ROWS, silent=True)
    assert (values == explainer(ROWS).values).all()
    alone = explainer.shap_values(ROWS[0])
    assert alone.shape == values.shape[1:]
    np.testing.assert_allclose(alone, values[0], atol=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_a_row_alone_is_explained_as_in_a_batch(kind):
    explainer = made(kind)
    together = explainer(ROWS)
    for row in range(len(ROWS)):
        alone = explainer(ROWS[row : row + 1])
        np.testing.assert_allclose(alone.values[0], together.values[row], atol=1e-5)
        np.testing.assert_allclose(alone.base_values[0], together.base_values[row])


@pytest.mark.parametrize("kind", BOTH)
def test_names_come_from_a_dataframe(kind):
    frame = pd.DataFrame(X, columns=["age", "income", "debt"])
    explainer = made(kind, background=frame)
    assert list(explainer(ROWS).feature_names) == ["age", "income", "debt"]
    assert list(explainer(frame[:8]).feature_names) == ["age", "income", "debt"]
    assert (explainer(frame[:8]).data == X[:8]).all()
    assert list(made(kind)(frame[:8]).feature_names) == ["age", "income", "debt"]
    assert list(made(kind, feature_names=["a", "b", "c"])(ROWS).feature_names) == ["a", "b", "c"]
    assert made(kind)(ROWS).feature_names is None


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "background",
    [
        torch.from_numpy(X),
        X.tolist(),
        shap.maskers.Independent(X, max_samples=len(X)),
    ],
    ids=["tensor", "list", "masker"],
)
def test_a_background_has_many_forms(kind, background):
    np.testing.assert_allclose(
        made(kind, background=background)(ROWS).values, made(kind)(ROWS).values, atol=0.05
    )


@pytest.mark.parametrize("kind", BOTH)
def test_images_keep_their_shape(kind):
    def brightness(images):
        assert images.shape[1:] == (2, 2, 1)
        bright = images.mean(axis=(1, 2, 3)) > 0
        return np.stack([~bright, bright], axis=1).astype(float)

    images = normal(200, 2, 2, 1)
    explanation = made(kind, brightness, images, scale="shared")(images[:3])
    per_class = (2,) if kind is FIMAPExplainer else ()
    assert explanation.values.shape == (3, 2, 2, 1, *per_class)
    assert explanation.data.shape == (3, 2, 2, 1)


def test_categories_have_no_standard_deviation():
    schema = FeatureSchema([Continuous("x", 0), Categorical("k", ("a", "b"), (1, 2))])
    rows = np.concatenate([5 * normal(200, 1), np.eye(2)[np.arange(200) % 2]], axis=1)
    explainer = made(FIMAPExplainer, lambda rows: rows[:, 0] > 0, rows, schema=schema)
    assert explainer.unit.tolist() == pytest.approx([rows[:, 0].std(), 1.0, 1.0], rel=1e-5)


def test_widths_of_a_schema_are_given_in_the_order_of_columns():
    model, box = network(), {**SETTINGS[InvariantBoxExplainer], "scale": "shared"}
    n_columns = ROWS.shape[1]
    schema = FeatureSchema([Continuous(f"x{at}", at) for at in reversed(range(n_columns))])
    plain = InvariantBoxExplainer(model, **box)(ROWS).values
    reverse = InvariantBoxExplainer(model, schema=schema, **box)(ROWS).values
    assert np.abs(reverse - plain).max() < 0.1 * plain.max()
    assert np.abs(reverse[:, ::-1] - plain).max() > 0.5 * plain.max()


@pytest.mark.parametrize("kind", BOTH)
def test_random_state_and_module_are_left_as_found(kind):
    model = nn.Sequential(network(), nn.Dropout(0.0)).train()
    state = torch.random.get_rng_state()
    made(kind, model)(ROWS)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


# What goes wrong.


def test_a_box_refuses_categories():
    schema = FeatureSchema([Continuous("x", 0), Categorical("k", ("a", "b"), (1, 2))])
    with pytest.raises(InvalidInputError, match=r"k is categorical.*numbers only"):
        InvariantBoxExplainer(network(), schema=schema)


def test_a_module_needs_no_background_for_its_box():
    explanation = InvariantBoxExplainer(network(), **SETTINGS[InvariantBoxExplainer])(ROWS)
    assert explanation.base_values.tolist() == [0.0] * 8
    with pytest.raises(NotFittedError, match="fit"):
        InvariantBoxExplainer(three_classes)(ROWS)


def test_fimap_needs_a_background_of_more_than_one_class():
    with pytest.raises(InvalidInputError, match="background"):
        FIMAPExplainer(three_classes, None)
    with pytest.raises(ConstantPredictorError, match="two classes"):
        made(FIMAPExplainer, lambda rows: np.zeros(len(rows), int))


@pytest.mark.parametrize("kind", BOTH)
def test_settings_of_sampling_are_accepted_and_others_are_not(kind):
    explainer = made(kind)
    explainer(ROWS, max_evals=100, silent=True)
    with pytest.raises(TypeError, match="max_eval'"):
        explainer(ROWS, max_eval=100)
