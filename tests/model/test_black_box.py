from __future__ import annotations

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from xai_adapters.errors import InvalidInputError, PredictorError, UnknownOptionError
from xai_adapters.model.black_box import BlackBox, BlackBoxOptions, as_black_box

ROWS = st.lists(
    st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=2), min_size=1, max_size=7
)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Estimator:
    """Class "yes" where the first column is positive, as scikit-learn's classifiers say it."""

    classes_ = np.array(["no", "yes"])

    def predict(self, X):
        assert isinstance(X, np.ndarray)
        return self.classes_[(X[:, 0] > 0).astype(int)]


class FloatLabels(Estimator):
    """The same with labels 1.0 and 2.0, as of a target column of floats."""

    classes_ = np.array([1.0, 2.0])


class ProbabilisticEstimator(Estimator):
    def predict_proba(self, X):
        assert isinstance(X, np.ndarray)
        p = sigmoid(X[:, 0])
        return np.stack((1 - p, p), axis=1)


def linear_module() -> nn.Module:
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    return net


# Every way to say that a row's class is 1 where its first column is positive: the predictor, the
# settings it needs, and whether it gives probabilities.
PREDICTORS = {
    "module of logits": (linear_module(), {}, True),
    "module of probabilities": (nn.Sequential(linear_module(), nn.Softmax(dim=1)), {}, True),
    "estimator": (Estimator(), {}, False),
    "estimator with probabilities": (ProbabilisticEstimator(), {}, True),
    "logits": (lambda X: np.stack((0 * X[:, 0], X[:, 0]), axis=1), {"output_type": "logits"}, True),
    "lists of logits": (lambda X: [[0.0, row[0]] for row in X], {"output_type": "logits"}, True),
    "probabilities": (
        ProbabilisticEstimator().predict_proba,
        {"output_type": "probabilities"},
        True,
    ),
    "found out to be probabilities": (ProbabilisticEstimator().predict_proba, {}, True),
    "one probability": (lambda X: sigmoid(X[:, 0]), {}, True),
    "one probability in a column": (lambda X: sigmoid(X[:, :1]), {}, True),
    "one float32 probability": (lambda X: sigmoid(X[:, 0]).astype(np.float32), {}, True),
    "one probability with a threshold": (
        lambda X: sigmoid(X[:, 0]) ** 2,
        {"output_type": "probabilities", "threshold": 0.25},
        True,
    ),
    "one logit": (lambda X: X[:, 0], {"output_type": "logits"}, True),
    "one logit in a column": (lambda X: X[:, :1], {"output_type": "logits"}, True),
    "a regression with a threshold": (
        lambda X: 10 * X[:, 0] + 500,
        {"output_type": "logits", "threshold": 500},
        True,
    ),
    "a regression of whole numbers": (
        lambda X: np.ceil(10 * X[:, 0]).astype(np.int64) + 500,
        {"output_type": "logits", "threshold": 500},
        True,
    ),
    "a dictionary with logits": (
        lambda X: {"loss": 3.0, "logits": np.stack((0 * X[:, 0], X[:, 0]), axis=1)},
        {"output_type": "logits"},
        True,
    ),
    "a dictionary of one entry": (lambda X: {"p": sigmoid(X[:, 0])}, {}, True),
    "an object with logits": (
        lambda X: SimpleNamespace(logits=np.stack((0 * X[:, 0], X[:, 0]), axis=1)),
        {"output_type": "logits"},
        True,
    ),
    "a tuple of one": (lambda X: (sigmoid(X[:, 0]),), {}, True),
    "labels: integers in a column": (
        lambda X: np.where(X[:, :1] > 0, 7, 5),
        {"classes": [5, 7]},
        False,
    ),
    "labels: strings in a column": (
        lambda X: np.where(X[:, :1] > 0, "a", "z"),
        {"classes": ["z", "a"]},
        False,
    ),
    "labels: floats of an estimator": (FloatLabels(), {}, False),
    "labels: floats of an estimator's method": (FloatLabels().predict, {}, False),
    "labels: integers": (lambda X: np.where(X[:, 0] > 0, 7, 5), {"classes": [5, 7]}, False),
    "labels: booleans": (lambda X: X[:, 0] > 0, {}, False),
    "labels: strings": (
        lambda X: np.where(X[:, 0] > 0, "a", "z"),
        {"classes": ["z", "a"]},
        False,
    ),
    "labels: a list of strings": (
        lambda X: ["yes" if row[0] > 0 else "no" for row in X],
        {"classes": ["no", "yes"]},
        False,
    ),
    "labels: tensors": (
        lambda X: (X[:, 0] > 0).to(torch.int32),
        {"classes": [0, 1], "arrays": "torch"},
        False,
    ),
    "labels: boolean tensors": (lambda X: X[:, 0] > 0, {"arrays": "torch"}, False),
}


@pytest.mark.parametrize("name", PREDICTORS)
@given(rows=ROWS)
def test_every_kind_of_predictor_is_understood(name, rows):
    predictor, settings, graded = PREDICTORS[name]
    box = BlackBox(predictor, **settings)
    X = torch.tensor(rows)
    probabilities = box.probabilities(X)
    assert probabilities.shape == (len(rows), 2)
    assert probabilities.sum(dim=1).tolist() == pytest.approx([1] * len(rows))
    assert not probabilities.requires_grad
    assert box.gives_probabilities is graded
    if not graded:
        assert set(probabilities.flatten().tolist()) == {0, 1}
    assert box.labels(X).tolist() == [int(row[0] > 0) for row in rows]
    assert box.labels(X).dtype == torch.int64


@pytest.mark.parametrize("name", PREDICTORS)
@given(rows=ROWS, batch_size=st.integers(1, 4))
def test_batches_change_nothing_and_every_row_is_counted_once(name, rows, batch_size):
    predictor, settings, _ = PREDICTORS[name]
    X = torch.tensor(rows)
    whole = BlackBox(predictor, **settings)
    cut = BlackBox(predictor, **settings, batch_size=batch_size)
    for n_asked in (1, 2):
        assert torch.allclose(whole.probabilities(X), cut.probabilities(X))
        assert cut.n_queries == whole.n_queries == n_asked * len(rows)


def test_a_batch_is_never_larger_than_allowed():
    sizes = []

    def predictor(X):
        sizes.append(len(X))
        return X[:, 0]

    BlackBox(predictor, batch_size=3).labels(torch.ones(7, 2))
    assert sizes == [3, 3, 1]


def test_labels_are_numbered_sorted_and_later_ones_behind():
    box = BlackBox(lambda X: np.array(["zoo", "ant", "cat", "bee"])[X[:, 0].astype(int)])
    assert box.labels(torch.tensor([[0.0], [2.0]])).tolist() == [1, 0]
    assert box.labels(torch.tensor([[3.0], [0.0], [1.0]])).tolist() == [2, 1, 3]
    assert box.classes == ["cat", "zoo", "bee", "ant"]
    assert box.probabilities(torch.tensor([[0.0]])).tolist() == [[0, 1, 0, 0]]


def test_booleans_are_numbered_without_having_been_seen():
    assert BlackBox(lambda X: X[:, 0] > 0).labels(torch.ones(3, 1)).tolist() == [1, 1, 1]


def test_numbers_once_seen_to_be_logits_stay_logits():
    box = BlackBox(lambda X: X[:, 0])
    low = torch.tensor([[0.25]])
    assert box.labels(low).tolist() == [0]
    assert box.resolved_output_type == "probabilities"
    assert box.labels(torch.tensor([[0.25], [3.0]])).tolist() == [1, 1]
    assert box.resolved_output_type == "logits"
    assert box.labels(low).tolist() == [1]


def test_a_module_is_asked_in_eval_mode_and_left_as_found():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    X = torch.arange(8.0).view(4, 2)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random_state = torch.get_rng_state()
    answers = BlackBox(net).probabilities(X)
    assert net.training
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.allclose(answers, net.eval()(X).softmax(dim=1))


def test_a_function_may_draw_without_moving_the_global_random_state():
    def predictor(X):
        return torch.rand(len(X))

    random_state = torch.get_rng_state()
    BlackBox(predictor, arrays="torch").labels(torch.ones(3, 1))
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_arrays_come_in_the_rows_precision_or_the_nearest_numpy_has(dtype):
    seen = []

    def predictor(X):
        seen.append(X.dtype)
        return X[:, 0] > 0

    BlackBox(predictor).labels(torch.ones(3, 1, dtype=dtype))
    nearest = torch.float32 if dtype == torch.bfloat16 else dtype
    assert seen == [torch.ones(1, dtype=nearest).numpy().dtype]


def test_rows_may_have_any_shape():
    images = torch.arange(-12.0, 12.0).view(2, 3, 2, 2)
    assert BlackBox(lambda X: X.mean(axis=(1, 2, 3)) > 0).labels(images).tolist() == [0, 1]


def nan_in_row(row, value=np.nan):
    def predictor(X):
        answers = X.copy()
        answers[row:, 1] = value
        return answers

    return predictor


BROKEN = {
    "NaN": (nan_in_row(2), "returned NaN or inf for 3 of 5 rows, first for row 2"),
    "inf": (nan_in_row(4, np.inf), "returned NaN or inf for 1 of 5 rows, first for row 4"),
    "too few rows": (lambda X: X[1:], r"given 5 rows and returned shape \(4, 2\)"),
    "too few labels": (lambda X: ["a"] * 4, r"given 5 rows and returned shape \(4,\)"),
    "too many numbers": (lambda X: np.zeros(6), r"given 5 rows and returned shape \(6,\)"),
    "one number": (lambda X: 0.5, r"given 5 rows and returned shape \(\)"),
    "nothing": (lambda X: None, "returned a NoneType; an array or tensor with one answer for each"),
    "a generator": (lambda X: (row for row in X), "returned a generator"),
    "lists of several lengths": (lambda X: [[0.1, 0.9]] * 4 + [[0.5]], "lists of several lengths"),
    "a dictionary": (lambda X: {"a": X, "b": X}, "entries 'a', 'b', none of .* 'logits'; wrap it"),
    "a tuple": (lambda X: (X, X), "returned a tuple of 2 entries"),
    "no labels": (
        lambda X: np.array(["a", None, "b", None, "a"], dtype=object),
        "2 of 5 labels are None or NaN, first that of row 1",
    ),
    "labels without an order": (
        lambda X: np.array([1, "a", 1, "a", 1], dtype=object),
        r"of several types \(int, str\), .* classes=",
    ),
    "three dimensions": (lambda X: np.zeros((5, 2, 2)), r"returned shape \(5, 2, 2\)"),
    "complex numbers": (lambda X: X * 1j, "values of type complex"),
    "a table of text": (lambda X: np.full((5, 2), "a"), "values of type <U1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_answers_that_are_no_predictions_are_named(name):
    predictor, message = BROKEN[name]
    with pytest.raises(PredictorError, match=message):
        BlackBox(predictor).labels(torch.ones(5, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"output_type": "odds"},
            "output_type must be one of 'auto', 'probabilities', 'logits', is 'odds'",
        ),
        ({"arrays": "pandas"}, "arrays must be one of 'numpy', 'torch', is 'pandas'"),
        ({"batch_size": 0}, "batch_size must be at least 1, is 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, is 2.5"),
        ({"threshold": "half"}, "threshold must be a number or None, is 'half'"),
        ({"decision": "yes"}, "decision must be a function or None, is 'yes'"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, message):
    with pytest.raises(InvalidInputError, match=f"^{message}$"):
        BlackBox(len, **settings)


def test_an_unknown_option_is_named_with_the_nearest():
    with pytest.raises(UnknownOptionError, match=r"BlackBox has no option 'treshold'"):
        BlackBox(len, treshold=0.5)


def test_repr_shows_the_predictor_and_what_was_set():
    assert repr(BlackBox(len)) == "BlackBox(len)"
    box = BlackBox(torch.nn.Linear(2, 1), threshold=0.3, batch_size=9)
    assert repr(box) == "BlackBox(Linear, threshold=0.3, batch_size=9)"


def test_the_typed_dict_has_the_options_of_the_constructor():
    options = inspect.signature(BlackBox).parameters.keys() - {"self", "predictor"}
    assert options == BlackBoxOptions.__annotations__.keys()


@pytest.mark.parametrize("predictor", ["forest.pkl", None, 3])
def test_what_cannot_be_asked_is_refused_at_once(predictor):
    with pytest.raises(InvalidInputError, match=f"it is {type(predictor).__name__} "):
        BlackBox(predictor)


def test_a_black_box_is_not_wrapped_twice():
    box = BlackBox(len)
    assert as_black_box(box) is box
    assert as_black_box(len, threshold=3.0).threshold == 3.0


def test_a_regressor_needs_a_threshold():
    base = pytest.importorskip("sklearn.base")

    class Price(base.RegressorMixin, base.BaseEstimator):
        def predict(self, X):
            return 100 * X[:, 0]

    for predictor in (Price(), Price().predict):
        with pytest.raises(InvalidInputError, match="Price predicts numbers, not classes"):
            BlackBox(predictor)
        box = BlackBox(predictor, threshold=50)
        assert box.labels(torch.tensor([[0.4], [0.6]])).tolist() == [0, 1]
        decided = BlackBox(predictor, decision=lambda y: np.digitize(y, [20, 50]))
        assert decided.labels(torch.tensor([[0.1], [0.3], [0.6]])).tolist() == [0, 1, 2]


def test_an_estimator_of_one_class_gives_it_for_all():
    class OneClass:
        classes_ = np.array(["yes"])

        def predict_proba(self, X):
            return np.ones((len(X), 1))

    box = BlackBox(OneClass())
    assert box.probabilities(torch.zeros(3, 2)).tolist() == [[1, 0]] * 3
    assert box.classes == ["yes"]
