"""What code written for Alibi's counterfactual explainers relies on, with and without Alibi."""

from __future__ import annotations

import copy
import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
import torch
from counterfactuals import BOTH, QUICK, Estimator, labels, network, normal, three_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import nn

from xai_adapters import Continuous, FeatureSchema
from xai_adapters.errors import FitWarning, InvalidInputError, NotApplicableError, NotFittedError

X = normal(300, 3)
ROWS = normal(6, 3, seed=1)
PREDICTORS = {
    "function": three_classes,
    "module": network(),
    "labels": labels,
    "estimator": Estimator(),
}


def made(adapter, name, predictor=three_classes, **arguments):
    return getattr(adapter, name)(predictor, **{**QUICK[name], **arguments})


@pytest.fixture(scope="module", params=BOTH)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=PREDICTORS)
def fitted(request, adapter, name):
    return made(adapter, name, PREDICTORS[request.param]).fit(X)


@pytest.fixture(scope="module")
def explainer(adapter, name):
    """Fitted to a function of three classes."""
    return made(adapter, name).fit(X)


# The bases.


def test_explainers_are_alibis_own_where_it_is_installed():
    interfaces = pytest.importorskip("alibi.api.interfaces", exc_type=ImportError)
    from xai_adapters import alibi

    for name in BOTH:
        assert issubclass(getattr(alibi, name), interfaces.Explainer)
        assert issubclass(getattr(alibi, name), interfaces.FitMixin)
    assert issubclass(alibi.Explanation, interfaces.Explanation)


def test_meta_is_complete_and_shown_as_attributes(explainer, name):
    assert explainer.meta["name"] == name == explainer.name
    assert explainer.meta["type"] == ["blackbox"]
    assert explainer.meta["explanations"] == ["local"]
    assert isinstance(explainer.meta["version"], str)
    params = explainer.meta["params"]
    assert params["target_class"] == "other"
    assert [feature["name"] for feature in params["schema"]["features"]] == ["x0", "x1", "x2"]
    assert copy.deepcopy(explainer.meta) == explainer.meta
    explanation = explainer.explain(ROWS)
    assert explanation.meta == explainer.meta
    assert explanation.meta is not explainer.meta
    assert explanation.name == name
    assert explanation.cf is explanation.data["cf"]


# What an explanation holds.


def test_a_batch_holds_an_entry_for_each_row(fitted):
    explanation = fitted.explain(ROWS)
    cf, n = explanation.cf, len(ROWS)
    assert {"cf", "all", "orig_class", "orig_proba", "success", "queries"} <= set(explanation.data)
    assert set(cf) == {"X", "class", "proba", "distance", "index"}
    assert cf["X"].shape == ROWS.shape
    assert cf["X"].dtype == ROWS.dtype
    assert cf["proba"].shape == explanation.orig_proba.shape == (n, 3)
    assert explanation.orig_class.tolist() == explanation.orig_proba.argmax(axis=1).tolist()
    assert cf["class"].tolist() == cf["proba"].argmax(axis=1).tolist()
    assert explanation.success.shape == (n,)
    assert explanation.success.dtype == bool
    assert explanation.success.mean() > 0.8
    np.testing.assert_allclose(cf["distance"], np.abs(cf["X"] - ROWS).sum(axis=1))
    assert cf["index"].tolist() == list(range(n))
    assert [found for lists in explanation.all.values() for found in lists] == []


def test_one_row_holds_plain_numbers(fitted):
    explanation = fitted.explain(ROWS[:1])
    cf = explanation.cf
    assert type(explanation.success) is bool
    assert type(explanation.orig_class) is type(cf["class"]) is int
    assert type(cf["distance"]) is float
    assert cf["X"].shape == (1, 3)
    assert cf["proba"].shape == explanation.orig_proba.shape == (1, 3)
    assert explanation.success is True
    assert cf["class"] != explanation.orig_class


def test_success_is_what_the_predictor_says(fitted):
    explanation = fitted.explain(normal(40, 3, seed=2))
    before, after = (
        three_classes(rows).argmax(axis=1) for rows in (normal(40, 3, seed=2), explanation.cf["X"])
    )
    assert explanation.success.tolist() == (before != after).tolist()
    assert (explanation.success == (explanation.cf["class"] != explanation.orig_class)).all()


def test_a_row_alone_is_explained_as_in_a_batch(fitted):
    together = fitted.explain(ROWS)
    for row in range(len(ROWS)):
        alone = fitted.explain(ROWS[row : row + 1])
        assert alone.success == together.success[row]
        assert alone.orig_class == together.orig_class[row]
        if alone.success:
            np.testing.assert_allclose(alone.cf["X"][0], together.cf["X"][row], rtol=1e-5)
            assert alone.cf["class"] == together.cf["class"][row]


def test_fimap_says_how_certain_each_decision_is(adapter):
    explainer = made(adapter, "FIMAPCounterfactual").fit(X)
    certainty = explainer.explain(normal(50, 3, seed=3)).certainty
    assert certainty["length"].shape == certainty["rank"].shape == (50,)
    # The lead of the first class over the second tells how near the boundary is.
    top = np.sort(three_classes(normal(50, 3, seed=3)), axis=1)
    assert np.corrcoef(top[:, -1] - top[:, -2], certainty["rank"])[0, 1] > 0.5


def test_a_box_says_how_far_each_feature_may_go(adapter):
    explainer = made(adapter, "InvariantBoxCounterfactual").fit(X)
    explanation = explainer.explain(ROWS)
    assert explanation.lower.shape == explanation.upper.shape == ROWS.shape
    assert (explanation.lower <= ROWS).all()
    assert (explanation.upper >= ROWS).all()
    assert set(explanation.guarantee) == {"violating_mass", "confidence", "n_draws"}
    share = np.random.default_rng(0).uniform(size=(500, 1, 3))
    inside = explanation.lower + share * (explanation.upper - explanation.lower)
    same = three_classes(inside.reshape(-1, 3)).argmax(axis=1).reshape(500, -1)
    violations = (same != explanation.orig_class).mean(axis=0)
    assert (violations <= explanation.guarantee["violating_mass"]).all()


def test_queries_are_counted(adapter, name):
    asked = 0

    def counting(rows):
        nonlocal asked
        asked += len(rows)
        return three_classes(rows)

    explainer = made(adapter, name, counting).fit(X)
    asked = 0
    assert explainer.explain(ROWS).queries == asked
    if name == "FIMAPCounterfactual":
        # Each row as it is, twelve questions, and what was found.
        assert asked <= 14 * len(ROWS)
        assert made(adapter, name, line_search=False).fit(X).explain(ROWS).queries == 2 * len(ROWS)


# Targets.


@pytest.mark.parametrize(
    "target",
    [1, np.int64(1), [1] * 6, np.full(6, 1), np.array([1]), np.tile([0.1, 0.8, 0.1], (6, 1))],
    ids=["int", "numpy int", "list", "each", "one", "CFRL"],
)
def test_a_target_has_many_forms(explainer, target):
    explanation = explainer.explain(ROWS, target)
    reached = three_classes(explanation.cf["X"]).argmax(axis=1)
    assert explanation.success.tolist() == (reached == 1).tolist()
    assert explanation.success.mean() > 0.8
    there = explanation.orig_class == 1
    assert (explanation.cf["X"][there] == ROWS[there]).all()
    assert (explainer.explain(ROWS, Y_t=target).cf["X"] == explanation.cf["X"]).all()


def test_a_target_may_be_given_at_construction(adapter, name):
    explainer = made(adapter, name, target_class=2).fit(X)
    assert set(explainer.explain(ROWS).cf["class"][explainer.explain(ROWS).success]) == {2}
    assert set(explainer.explain(ROWS, 0).cf["class"][explainer.explain(ROWS, 0).success]) == {0}


BAD_TARGETS = {
    "same": "same", "text": "x", "too large": 3, "negative": -1, "a fraction": 1.0,
    "too few": [0, 1], "another shape": np.zeros((6, 2)), "a boolean": True, "an object": object(),
}  # fmt: skip


@pytest.mark.parametrize("target", BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_a_bad_target_is_a_value_error(explainer, target):
    with pytest.raises(ValueError, match="target_class"):
        explainer.explain(ROWS, target)


def test_a_bad_target_at_construction_is_refused_there(adapter, name):
    with pytest.raises(ValueError, match="'same'"):
        made(adapter, name, target_class="same")


# Predictors.


@pytest.mark.parametrize("alias", ["predictor", "predict_fn", "predict"])
def test_a_predictor_goes_by_alibis_names(adapter, name, alias):
    explainer = getattr(adapter, name)(**{alias: three_classes}, shape=(1, 3), **QUICK[name])
    assert explainer.predictor is three_classes


@pytest.mark.parametrize(
    "predictors",
    [{"predictor": "model"}, {"predictor": 3}, {}, {"predictor": labels, "predict": labels}],
    ids=["text", "number", "none", "two"],
)
def test_what_is_no_predictor_is_a_type_error_that_says_so(adapter, name, predictors):
    with pytest.raises(TypeError, match="predictor"):
        getattr(adapter, name)(**predictors)


def test_the_predictor_is_held_in_one_place_and_never_copied(adapter, name):
    class Predictor:
        # Neither pickled nor copied.
        lock = threading.Lock()

        def __call__(self, rows):
            return three_classes(rows)

        def __deepcopy__(self, memo):
            raise AssertionError("copied")

        __reduce__ = __deepcopy__

    predictor = Predictor()
    explainer = made(adapter, name, predictor).fit(X)
    explanation = explainer.explain(ROWS)
    held = weakref.ref(predictor)
    del predictor
    explainer.predictor = None
    gc.collect()
    assert held() is None
    assert explanation.success.any()


def test_another_predictor_can_be_asked(explainer):
    explainer.reset_predictor(lambda rows: three_classes(-rows))
    try:
        explanation = explainer.explain(ROWS)
        assert explanation.orig_class.tolist() == three_classes(-ROWS).argmax(axis=1).tolist()
        after = three_classes(-explanation.cf["X"]).argmax(axis=1)
        assert explanation.success.tolist() == (after != explanation.orig_class).tolist()
        with pytest.raises(TypeError, match="predictor"):
            explainer.reset_predictor("model")
    finally:
        explainer.reset_predictor(three_classes)


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_constant_predictor_has_no_counterfactual(adapter, name, n_rows):
    explainer = made(adapter, name, lambda rows: np.tile([0.0, 1.0], (len(rows), 1)))
    with pytest.warns(FitWarning, match="two classes"):
        explainer.fit(X)
    explanation = explainer.explain(ROWS[:n_rows])
    if n_rows == 1:
        assert explanation.cf is None
        assert explanation.success is False
    else:
        assert (explanation.cf["X"] == ROWS[:n_rows]).all()
        assert explanation.cf["class"].tolist() == [1] * n_rows
        assert explanation.success.tolist() == [False] * n_rows
    assert "null" in explanation.to_json()


def test_a_row_without_a_counterfactual_is_left_as_it_was(adapter, name):
    # Class 0 is where x0 is positive; -1 can only be reached beyond the bounds.
    explainer = made(adapter, name, feature_range=(0.05, 9.0))
    rows = np.abs(X[:, :2]) + 0.1
    explainer.reset_predictor(lambda rows: np.stack([rows[:, 0] > 0, rows[:, 0] <= 0], 1) * 1.0)
    with pytest.warns(FitWarning):
        explainer.fit(rows)
    explanation = explainer.explain(rows[:4])
    assert not explanation.success.any()
    assert (explanation.cf["X"] == rows[:4]).all()


def test_rows_that_miss_in_a_batch_are_left_as_they_were(adapter):
    explainer = made(adapter, "FIMAPCounterfactual", line_search=False).fit(X)
    # Not the decision it was fitted to, so that some perturbations miss.
    explainer.reset_predictor(lambda rows: three_classes(rows - 0.5))
    rows = normal(60, 3, seed=4)
    explanation = explainer.explain(rows)
    missed = ~explanation.success
    assert 0 < missed.sum() < 60
    assert (explanation.cf["X"][missed] == rows[missed]).all()
    assert (explanation.cf["X"][~missed] != rows[~missed]).any(axis=1).all()
    np.testing.assert_allclose(explanation.cf["proba"], three_classes(explanation.cf["X"] - 0.5))


def test_before_fit_is_said_what_to_do(adapter, name):
    with pytest.raises(NotFittedError, match=r"fit\(X\)"):
        made(adapter, name).explain(ROWS)


def test_a_module_needs_no_fit_for_its_box(adapter):
    explainer = made(adapter, "InvariantBoxCounterfactual", network())
    assert explainer.explain(ROWS).success.all()


def test_random_state_and_module_are_left_as_found(adapter, name):
    model = nn.Sequential(network(), nn.Dropout(0.0)).train()
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()  # noqa: NPY002
    made(adapter, name, model).fit(X).explain(ROWS)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    assert (numpy_state[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert model.training
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())


def test_images_keep_their_shape(adapter, name):
    def brightness(images):
        assert images.shape[1:] == (2, 2, 1)
        bright = images.mean(axis=(1, 2, 3)) > 0
        return np.stack([~bright, bright], axis=1).astype(float)

    images = normal(200, 2, 2, 1).clip(-3, 3)
    explainer = made(adapter, name, brightness, shape=(1, 2, 2, 1), feature_range=(-3.0, 3.0))
    explanation = explainer.fit(images).explain(images[:5])
    assert explanation.cf["X"].shape == (5, 2, 2, 1)
    assert explanation.success.mean() > 0.7
    assert np.abs(explanation.cf["X"]).max() <= 3


# Features in Alibi's words.


def census(X: np.ndarray) -> np.ndarray:
    """Columns age, a code of three, hours; the second class likes age, code 2 and hours."""
    score = X[:, 0] / 10 + 2.0 * (X[:, 1] == 2) + X[:, 2] / 10 - 8
    return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)


def people(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    columns = [random.integers(18, 70, n), random.integers(0, 3, n), random.integers(10, 61, n)]
    return np.stack(columns, axis=1).astype(np.float32)


CFRL_WORDS = {
    "feature_names": ["age", "job", "hours"],
    "category_map": {1: ["clerk", "cook", "pilot"]},
    "immutable_features": ["age"],
    "ranges": {"hours": [-0.5, 0.0]},
}


def test_cfrls_words_are_kept(adapter, name):
    explainer = made(adapter, name, census, **CFRL_WORDS).fit(people(400))
    rows = people(60, seed=1)
    # Older than anybody in fit: immutable, so it stays as it is.
    rows[0, 0] = 95
    found = explainer.explain(rows).cf["X"]
    assert (found[:, 0] == rows[:, 0]).all()
    assert np.isin(found[:, 1], [0, 1, 2]).all()
    reach = 0.5 * (people(400)[:, 2].max() - people(400)[:, 2].min())
    assert ((found[:, 2] <= rows[:, 2]) & (found[:, 2] >= rows[:, 2] - reach - 1e-4)).all()
    assert (found[:, 2] >= 10).all()
    assert explainer.explain(rows).success.any()
    without = made(adapter, name, census, **{**CFRL_WORDS, "ranges": None, "cat_vars": None}).fit(
        people(400)
    )
    found = without.explain(rows).cf["X"][:, 2]
    assert (found > rows[:, 2]).any()
    assert found.max() <= 60
    assert explainer.meta["params"]["category_map"] == {"1": ["clerk", "cook", "pilot"]}


@pytest.mark.parametrize("ohe", [False, True])
def test_protos_words_are_kept(adapter, name, ohe):
    codes = people(400)
    hot = np.concatenate([codes[:, :1], np.eye(3)[codes[:, 1].astype(int)], codes[:, 2:]], axis=1)
    rows = (hot if ohe else codes).astype(np.float32)

    def predictor(rows):
        return census(
            np.stack([rows[:, 0], rows[:, 1:4].argmax(1), rows[:, 4]], 1) if ohe else rows
        )

    # One entry a feature, as wide as the ordinal data.
    feature_range = (np.array([[18.0, 0, 5]]), np.array([[70.0, 2, 50]]))
    rows[:, -1] = rows[:, -1].clip(5, 50)
    explainer = made(
        adapter, name, predictor, cat_vars={1: 3}, ohe=ohe, feature_range=feature_range
    )
    explanation = explainer.fit(rows, d_type=None).explain(rows[:40])
    found = explanation.cf["X"]
    assert explanation.success.mean() > 0.5
    assert (found[:, [0, -1]] >= [18, 5]).all()
    assert (found[:, [0, -1]] <= [70, 50]).all()
    if ohe:
        assert (np.sort(found[:, 1:4], axis=1) == [0, 0, 1]).all()
    else:
        assert np.isin(found[:, 1], [0, 1, 2]).all()


def test_ranges_wait_for_fit(adapter):
    explainer = made(adapter, "InvariantBoxCounterfactual", network(), ranges={"x0": [-0.5, 0.5]})
    with pytest.raises(NotFittedError, match="range"):
        explainer.explain(ROWS)
    found = explainer.fit(X).explain(ROWS).cf["X"]
    assert (np.abs(found - ROWS)[:, 0] <= 0.5 * np.ptp(X[:, 0])).all()


def test_features_are_described_once(adapter, name):
    with pytest.raises(InvalidInputError, match="ranges"):
        made(adapter, name, schema=FeatureSchema([Continuous("x", 0)]), ranges={"x": [0, 1]})


@settings(max_examples=6)
@given(schema=schemas(), seed=st.integers(0, 9))
def test_counterfactuals_keep_to_any_schema(adapter, name, schema, seed):
    rows = rows_of(schema, 60, seed, torch.float64)
    weights = normal(schema.n_columns, seed=seed)

    def predictor(asked):
        schema.check(torch.from_numpy(asked))
        return asked @ weights > np.median(rows.numpy() @ weights)

    explainer = made(adapter, name, predictor, schema=schema)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        explanation = explainer.fit(rows.numpy()).explain(rows[:8].numpy())
    found = schema.encode(torch.from_numpy(explanation.cf["X"]))
    assert torch.equal(schema.settle(schema.encode(rows[:8]), found), found)


# Settings that are Alibi's alone.


def test_alibis_own_settings_are_ignored_aloud(adapter, name):
    with pytest.warns(UserWarning, match="beta, max_iter: ignored") as told:
        explainer = made(adapter, name, max_iter=10, beta=0.1, sess=None)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="d_type, disc_perc") as told:
        assert explainer.fit(X, d_type="abdm", disc_perc=[25, 50]) is explainer
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="threshold, verbose") as told:
        explainer.explain(ROWS, threshold=0.5, verbose=True)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ({"C": [{"x0": [0, 1]}]}, "with immutable_features and ranges, or with a schema"),
        ({"diversity": True}, "one counterfactual is found for each row"),
        ({"num_samples": 5}, "one counterfactual is found for each row"),
    ],
)
def test_what_would_constrain_the_result_is_refused(explainer, option, advice):
    (given,) = option
    with pytest.raises(NotApplicableError, match=f"^{given}=.* cannot be kept.* {advice}"):
        explainer.explain(ROWS, **option)
    harmless = {"C": None, "diversity": False, "num_samples": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert explainer.explain(ROWS, **harmless).success.shape == (len(ROWS),)


@pytest.mark.parametrize("option", [{"target_proba": 0.9}, {"tol": 0.05}])
def test_a_probability_to_reach_is_refused_and_a_predictor_can_decide_at_it(adapter, name, option):
    with pytest.raises(
        NotApplicableError, match=r"such as lambda X: predict_proba\(X\)\[:, 1\] >="
    ):
        made(adapter, name, **option)

    def probability(rows):
        return 1 / (1 + np.exp(-2 * rows[:, 0]))

    advised = made(adapter, name, predictor=lambda rows: probability(rows) >= 0.9).fit(X)
    found = advised.explain(ROWS)
    reached = probability(found.cf["X"]) >= 0.9
    assert found.success.any()
    assert (reached != (probability(ROWS) >= 0.9))[found.success].all()


def test_labels_are_accepted_and_change_nothing(adapter, name, explainer):
    with_labels = made(adapter, name).fit(X, np.zeros(len(X)))
    assert (with_labels.explain(ROWS).cf["X"] == explainer.explain(ROWS).cf["X"]).all()


def test_a_misspelt_setting_is_a_type_error(adapter, name, explainer):
    with pytest.raises(TypeError, match="pennalty"):
        made(adapter, name, pennalty=1)
    with pytest.raises(TypeError, match="yy"):
        explainer.fit(X, yy=1)
    with pytest.raises(TypeError, match="targetclass"):
        explainer.explain(ROWS, targetclass=1)


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 3)), np.zeros(3), np.zeros((2, 4)), np.full((1, 3), np.nan)], ids=repr
)
def test_rows_that_cannot_be_used_are_a_value_error(explainer, rows):
    with pytest.raises(ValueError, match=r"X|column"):
        explainer.explain(rows)
