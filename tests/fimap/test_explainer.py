from __future__ import annotations

import copy
import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, is_tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xai_adapters import BlackBox, Categorical, Continuous, FeatureSchema, MinimalPerturbation
from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
    PredictorError,
)
from xai_adapters.fimap.networks import Perturber, Surrogate

# Small and quick, and good enough for the decisions below.
SMALL = {
    "surrogate_widths": (32,),
    "perturber_widths": (32,),
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "batch_size": 32,
    "query_budget": 0,
}
WEIGHTS = torch.tensor([1.0, -2.0, 0.5])
# Three classes, each the direction that points farthest its way.
CORNERS = torch.tensor([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]])


def normal(n_rows: int, n_columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n_rows, n_columns, generator=Generator().manual_seed(seed))


def two_classes(X: np.ndarray) -> np.ndarray:
    return X @ WEIGHTS.numpy().astype(X.dtype) > 0


def three_classes(X: np.ndarray) -> np.ndarray:
    return X @ CORNERS.numpy().T.astype(X.dtype)


@pytest.fixture(scope="module")
def linear() -> MinimalPerturbation:
    return MinimalPerturbation(**SMALL, epochs=30).fit(normal(400, 3), two_classes)


@pytest.fixture(scope="module")
def corners() -> MinimalPerturbation:
    return MinimalPerturbation(**SMALL, epochs=30).fit(normal(400, 2), three_classes)


@pytest.fixture(params=["linear", "corners"])
def fitted(request) -> tuple[MinimalPerturbation, torch.Tensor]:
    """A fitted explainer, and rows it has not seen."""
    explainer = request.getfixturevalue(request.param)
    return explainer, normal(60, 3 if request.param == "linear" else 2, seed=1)


# What is found.


def test_nearly_all_rows_flip_and_move_straight_across_the_boundary(linear):
    X = normal(200, 3, seed=1)
    found = linear.perturb(X, black_box=two_classes)
    assert linear.recovery_accuracy > 0.97
    assert found.success.double().mean() > 0.97
    assert (found.class_after != found.original_class).double().mean() > 0.97
    assert torch.equal(found.class_before, linear.predict(X))
    # Away from class 1 is against the weights. 0.97 was measured; 0.33 is as good as a guess.
    across = torch.cosine_similarity(
        found.perturbation, (1 - 2 * found.original_class[:, None]) * WEIGHTS
    )
    assert across.mean() > 0.93


def test_a_larger_penalty_gives_shorter_perturbations():
    lengths = [
        MinimalPerturbation(**SMALL, epochs=10, penalty=penalty)
        .fit(normal(300, 3), two_classes)
        .perturb(normal(100, 3, seed=1))
        .perturbation.norm(dim=1)
        .mean()
        for penalty in (0.0, 0.1, 0.5)
    ]
    assert lengths[0] > 1.1 * lengths[1] > 1.1 * 1.1 * lengths[2]


def test_every_row_reaches_the_class_asked_for(corners):
    X = normal(200, 2, seed=1)
    target = torch.arange(200) % 3
    found = corners.perturb(X, target, black_box=three_classes)
    assert torch.equal(found.target, target)
    assert found.success.double().mean() > 0.95
    moved = found.original_class != target
    across = torch.cosine_similarity(
        found.perturbation[moved], CORNERS[target[moved]] - CORNERS[found.original_class[moved]]
    )
    assert across.mean() > 0.9


@pytest.mark.parametrize("target", [2, torch.tensor(2), [2], np.int64(2), np.full(60, 2), [2] * 60])
def test_one_target_may_stand_for_all_rows(corners, target):
    X = normal(60, 2, seed=1)
    found = corners.perturb(X, target)
    assert found.target.tolist() == [2] * 60
    assert torch.equal(found.perturbation, corners.perturb(X, torch.full((60,), 2)).perturbation)


def test_a_row_in_its_target_class_already_is_not_perturbed(fitted):
    explainer, X = fitted
    own = explainer.predict(X)
    found = explainer.perturb(X, own)
    assert not found.perturbation.any()
    assert torch.equal(found.perturbed, X)
    told = explainer.perturb(X, 1 - own.clamp(max=1), original_class=1 - own.clamp(max=1))
    assert not told.perturbation.any()


@pytest.mark.parametrize("epochs", [3, 10, 30])
def test_other_is_the_nearest_class_that_leaves_the_own(epochs):
    spread = torch.tensor([5.0, 0.2])
    X = normal(400, 2) * spread
    explainer = MinimalPerturbation(**SMALL, epochs=epochs)
    explainer.fit(X, lambda X: three_classes(X / spread.numpy()))
    rows = normal(60, 2, seed=1) * spread
    found = explainer.perturb(rows, "other")
    assert torch.equal(found.perturbation, explainer.perturb(rows).perturbation)
    unit = X.std(dim=0, unbiased=False)
    n_checked = 0
    for row, original_class, chosen in zip(rows, found.original_class, found.target, strict=True):
        lengths = {}
        for target in set(range(3)) - {int(original_class)}:
            one = explainer.perturb(row[None], target)
            if one.class_after != original_class:
                lengths[target] = float((one.perturbation / unit).norm())
        assert chosen != original_class
        if lengths:
            n_checked += 1
            assert chosen == min(lengths, key=lengths.get)
    assert n_checked > 10


def test_rows_that_cannot_flip_take_the_target_that_lowers_their_class_most():
    # A penalty so large that nothing moves far enough.
    explainer = MinimalPerturbation(**SMALL, epochs=5, penalty=2.0)
    explainer.fit(normal(400, 2), three_classes)
    X = 3 * normal(200, 2, seed=1)
    found = explainer.perturb(X)
    surrogate, standardised = explainer._fitted.surrogate, explainer._fitted.standardised
    n_checked = 0
    for row, original_class, chosen in zip(
        X, found.original_class.tolist(), found.target.tolist(), strict=True
    ):
        others = [
            explainer.perturb(row[None], target) for target in range(3) if target != original_class
        ]
        if all(one.class_after == original_class for one in others):
            n_checked += 1
            left = {
                int(one.target): float(
                    surrogate(standardised(one.perturbed)).softmax(1)[0, original_class]
                )
                for one in others
            }
            assert chosen == min(left, key=left.get)
    assert n_checked > 20


# What the black box is asked.


@pytest.mark.parametrize("target", [None, "other", 1])
def test_success_is_what_the_black_box_says_of_the_perturbed_rows(corners, target):
    X = normal(60, 2, seed=1)
    # Not the decision it was fitted to, so that surrogate and black box disagree.
    box = BlackBox(lambda X: three_classes(X - 2))
    found = corners.perturb(X, target, black_box=box)
    assert found.queries == box.n_queries == 2 * len(X)
    before = three_classes(X.numpy() - 2).argmax(axis=1)
    after = three_classes(found.perturbed.numpy() - 2).argmax(axis=1)
    assert found.original_class.tolist() == before.tolist()
    wanted = after == 1 if target == 1 else after != before
    assert found.success.tolist() == wanted.tolist()
    assert 0 < found.success.sum() < len(X)


def test_a_known_origin_is_not_asked_for_again(linear):
    X = normal(20, 3, seed=1)
    box = BlackBox(two_classes)
    original_class = torch.arange(20) % 2
    found = linear.perturb(X, original_class=original_class, black_box=box)
    assert found.queries == box.n_queries == len(X)
    assert torch.equal(found.original_class, original_class)
    assert torch.equal(found.target, 1 - original_class)


def test_the_black_box_is_asked_once_a_row_in_fit_and_never_unless_handed_over():
    box = BlackBox(two_classes)
    explainer = MinimalPerturbation(**SMALL, epochs=1).fit(normal(100, 3), box)
    assert box.n_queries == 100
    found = explainer.perturb(normal(20, 3, seed=1))
    assert found.class_after.shape == (20,)
    assert (box.n_queries, found.queries, found.success) == (100, 0, None)


def test_the_perturbed_row_is_the_row_plus_its_perturbation(fitted):
    explainer, X = fitted
    found = explainer.perturb(X)
    assert torch.equal(found.original, X)
    assert torch.equal(found.perturbed, X + found.perturbation)


NAMES = np.array(["cat", "dog", "emu"])


def test_labels_mean_the_same_class_in_perturb_as_they_did_in_fit():
    def named(X):
        return NAMES[three_classes(X).argmax(axis=1)]

    explainer = MinimalPerturbation(**SMALL, epochs=10).fit(normal(300, 2), named)
    # One row at a time: each shows one label only.
    for corner in range(3):
        for box in (named, BlackBox(named)):
            found = explainer.perturb(3 * CORNERS[[corner]], black_box=box)
            assert found.original_class.tolist() == [corner]
    with pytest.raises(InvalidInputError, match=r"numbers its classes .*'emu', 'dog', 'cat'"):
        explainer.perturb(CORNERS, black_box=BlackBox(named, classes=["emu", "dog", "cat"]))


def test_numbers_are_read_in_perturb_as_they_were_in_fit():
    def score(X):
        return X[:, 0]

    explainer = MinimalPerturbation(**SMALL, epochs=5).fit(normal(300, 2), score)
    # Alone this row's answer could be a probability below one half.
    found = explainer.perturb(torch.tensor([[0.3, 0.0]]), black_box=score)
    assert found.original_class.tolist() == [1]


def test_a_class_that_fit_has_not_seen_is_named():
    def rounded(X):
        return np.round(X[:, 0]).astype(int)

    explainer = MinimalPerturbation(**SMALL, epochs=1)
    explainer.fit(torch.tensor([[0.0], [1.0]] * 20), rounded)
    with pytest.raises(InvalidInputError, match="row 1 has class 2; fit saw the classes 0 to 1"):
        explainer.perturb(torch.tensor([[0.0], [7.0]]), black_box=rounded)


# How it is found: equations 2 and 3, written plainly.


class PlainAdam:
    """Kingma and Ba's Algorithm 1, with a step size that falls linearly to 0."""

    def __init__(self, parameters, step_size, n_steps):
        self.parameters, self.step_size, self.t = list(parameters), step_size, 0
        self.n_steps = n_steps
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]

    def step(self, loss):
        gradients = torch.autograd.grad(loss, self.parameters)
        step_size = self.step_size * (1 - self.t / self.n_steps)
        self.t += 1
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                m_hat, v_hat = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
                p -= step_size * m_hat / (v_hat.sqrt() + 1e-8)


def plain_network(parameters, inputs):
    values = inputs
    for number in range(0, len(parameters), 2):
        values = values @ parameters[number].T + parameters[number + 1]
        if number + 2 < len(parameters):
            values = values.clamp(min=0)
    return values


def plain_cross_entropy(logits, classes):
    total = 0.0
    for row, c in zip(logits, classes.tolist(), strict=True):
        total = total - (row[c] - row.exp().sum().log())
    return total / len(logits)


def plain_fimap(X, labels, n_classes, *, widths, penalty, learning_rate, epochs, batch_size, seed):
    """The perturbation of every row to every class, (n, K, d), after fitting as the paper does."""
    n, d = X.shape
    mean = X.sum(dim=0) / n
    spread = (((X - mean) ** 2).sum(dim=0) / n) ** 0.5
    Z = (X - mean) / spread
    generator = Generator().manual_seed(seed)
    drawn = (widths, 0.0, generator, torch.device("cpu"))
    s = list(Surrogate(d, n_classes, *drawn).parameters())
    g = list(Perturber(d, n_classes, *drawn).parameters())

    def g_of(rows, target):
        told = torch.zeros(len(rows), n_classes)
        told[torch.arange(len(rows)), target] = 1
        return plain_network(g, torch.cat((rows, told), dim=1))

    n_steps = epochs * math.ceil(n / batch_size)
    adam = PlainAdam(s, learning_rate, n_steps)
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator)
        for start in range(0, n, batch_size):
            batch = order[start : start + batch_size]
            adam.step(plain_cross_entropy(plain_network(s, Z[batch]), labels[batch]))
    adam = PlainAdam(g, learning_rate, n_steps)
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator)
        for start in range(0, n, batch_size):
            batch = order[start : start + batch_size]
            shift = torch.randint(1, n_classes, (len(batch),), generator=generator)
            target = (labels[batch] + shift) % n_classes
            p = g_of(Z[batch], target)
            length = sum((row**2).sum().sqrt() for row in p) / len(p)
            flip = plain_cross_entropy(plain_network(s, Z[batch] + p), target)
            early = 3 * max(0, 1 - 2 * adam.t / n_steps) ** 2
            adam.step(flip + (penalty + early) * length)
    with torch.no_grad():
        every = [g_of(Z, torch.full((n,), c)) * spread for c in range(n_classes)]
    return torch.stack(every, dim=1)


@pytest.mark.parametrize("penalty", [0.0, 0.1, 2.0])
@pytest.mark.parametrize(("n_classes", "seed"), [(2, 0), (3, 5)])
def test_the_objectives_are_those_of_equations_2_and_3(penalty, n_classes, seed):
    X = normal(22, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([-1.0, 7.0])
    outputs = three_classes(((X - torch.tensor([-1.0, 7.0])) / torch.tensor([3.0, 0.1])).numpy())
    labels = torch.from_numpy(outputs[:, :n_classes].argmax(axis=1))
    assert len(labels.unique()) == n_classes
    settings = {
        "penalty": penalty,
        "learning_rate": 0.05,
        "epochs": 2,
        "batch_size": 8,
        "seed": seed,
    }
    explainer = MinimalPerturbation(
        surrogate_widths=(6, 5), perturber_widths=(6, 5), dropout=0.0, query_budget=0, **settings
    )
    explainer.fit(X, BlackBox(lambda X: labels.numpy(), classes=range(n_classes)))
    plain = plain_fimap(X, labels, n_classes, widths=(6, 5), **settings)
    for target in range(n_classes):
        original_class = torch.full((len(X),), (target + 1) % n_classes)
        found = explainer.perturb(X, target, original_class=original_class).perturbation
        torch.testing.assert_close(found, plain[:, target], rtol=1e-3, atol=1e-4)


def test_dropout_is_used_while_fitting_and_not_after():
    X = normal(100, 3)
    with_it, without = (
        MinimalPerturbation(**{**SMALL, "dropout": dropout}, epochs=2).fit(X, two_classes)
        for dropout in (0.5, 0.0)
    )
    assert not torch.allclose(with_it.perturb(X).perturbation, without.perturb(X).perturbation)
    assert torch.equal(with_it.perturb(X).perturbation, with_it.perturb(X).perturbation)


# What must not matter.


def test_the_same_seed_gives_the_same_result_to_the_bit():
    X = normal(100, 3)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, same, other = (
        MinimalPerturbation(**{**SMALL, "dropout": 0.2}, epochs=2, seed=seed).fit(X, two_classes)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.perturb(X).perturbation, same.perturb(X).perturbation)
    assert not torch.equal(one.perturb(X).perturbation, other.perturb(X).perturbation)


@pytest.mark.parametrize("name", ["linear", "corners"])
@given(rows=st.lists(st.integers(0, 59), min_size=1, max_size=9))
def test_a_row_does_not_depend_on_its_neighbours(request, name, rows):
    explainer = request.getfixturevalue(name)
    X = normal(60, 3 if name == "linear" else 2, seed=1)
    every, some = explainer.perturb(X), explainer.perturb(X[rows])
    assert torch.equal(some.target, every.target[rows])
    torch.testing.assert_close(some.perturbation, every.perturbation[rows], rtol=1e-4, atol=1e-5)


def test_many_rows_are_cut_into_blocks_unnoticed(corners):
    X = normal(60, 2, seed=1)
    many = corners.perturb(X.repeat(70, 1))
    assert torch.equal(many.target, corners.perturb(X).target.repeat(70))


# Powers of two keep every rounding, other factors and offsets do not.
UNITS = {
    "powers of two": ([4.0, 0.25, -1.0], [0.0, 0.0, 0.0], 0.0),
    "offsets": ([3.0, -0.1, 7.0], [5.0, -2.0, 0.3], 1e-2),
    "tiny and huge": ([2.0**-90, 2.0**90, 1.0], [0.0, 0.0, 0.0], 0.0),
}


@pytest.mark.parametrize("case", UNITS)
def test_other_units_of_the_columns_give_the_same_perturbation_in_those_units(case):
    factor, offset, tolerance = UNITS[case]
    a, b = torch.tensor(factor), torch.tensor(offset)
    X, rows = normal(200, 3), normal(50, 3, seed=1)
    signs = a.sign()
    labels = two_classes(X.numpy())
    # A mirrored column is mirrored for both: to the networks it is another column.
    plain = MinimalPerturbation(**SMALL, epochs=3).fit(X * signs, lambda _: labels)
    moved = MinimalPerturbation(**SMALL, epochs=3).fit(X * a + b, lambda _: labels)
    wanted = plain.perturb(rows * signs).perturbation * a.abs()
    found = moved.perturb(rows * a + b).perturbation
    torch.testing.assert_close(found / a.abs(), wanted / a.abs(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.567])
def test_a_constant_column_has_the_unit_1_whatever_its_value(constant):
    X = normal(100, 3)
    X[:, 1] = constant
    zeroed = X.clone()
    zeroed[:, 1] = 0
    labels = (X[:, 0] > 0).numpy()
    found, wanted = (
        MinimalPerturbation(**SMALL, epochs=3).fit(rows, lambda _: labels).perturb(rows)
        for rows in (X, zeroed)
    )
    # Its mean rounds to a neighbour of the value; taken for a spread, that would hide the column.
    sizes = [result.perturbation.abs().mean(dim=0) for result in (found, wanted)]
    torch.testing.assert_close(*sizes, rtol=0.2, atol=0.0)


def test_a_shared_scale_keeps_the_ratios_of_the_columns():
    X = normal(300, 2) * torch.tensor([10.0, 1.0])
    labels = (X[:, 0] + X[:, 1] > 0).numpy()
    found = {
        scale: MinimalPerturbation(**SMALL, epochs=20, scale=scale)
        .fit(X, lambda _: labels)
        .perturb(X)
        .perturbation.abs()
        .mean(dim=0)
        for scale in ("column", "shared")
    }
    # Straight across the boundary both columns move alike in their shared unit; where each has
    # its own, the wide one is a hundred times cheaper.
    assert 0.4 < found["shared"][0] / found["shared"][1] < 2.5
    assert found["column"][0] / found["column"][1] > 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_results_have_the_rows_dtype(dtype):
    X = normal(200, 3).to(dtype)
    explainer = MinimalPerturbation(**SMALL, epochs=10).fit(X, two_classes)
    found = explainer.perturb(X, black_box=two_classes)
    assert found.perturbation.dtype == found.perturbed.dtype == found.original.dtype == dtype
    assert found.perturbation.isfinite().all()
    assert found.success.double().mean() > 0.9
    assert explainer.perturb(X.float()).perturbation.dtype == torch.float32


@pytest.mark.parametrize("convert", [np.asarray, torch.Tensor.tolist, lambda X: X.numpy()[::-1]])
def test_rows_may_be_arrays_and_lists(linear, convert):
    X = convert(normal(20, 3, seed=1).double())
    found = linear.perturb(X)
    assert found.perturbation.dtype == torch.float64
    assert torch.equal(found.original, torch.tensor(np.array(X)))


def test_integers_are_explained_as_float32(linear):
    found = linear.perturb([[1, 2, 3], [-1, 0, 5]])
    assert found.perturbation.dtype == torch.float32
    floats = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.0, 5.0]])
    assert torch.equal(found.perturbation, linear.perturb(floats).perturbation)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.enable_grad])
def test_grad_mode_does_not_matter(guard, linear):
    X = normal(400, 3).requires_grad_()
    with guard():
        explainer = MinimalPerturbation(**SMALL, epochs=30).fit(X, two_classes)
        found = explainer.perturb(X)
        assert torch.is_grad_enabled() is (guard is torch.enable_grad)
    assert torch.equal(found.perturbation, linear.perturb(X).perturbation)
    assert not found.perturbation.requires_grad
    assert X.grad is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_fitted_explainer_can_be_copied_and_pickled(fitted, duplicate):
    explainer, X = fitted
    found = duplicate(explainer).perturb(X)
    assert torch.equal(found.perturbation, explainer.perturb(X).perturbation)
    assert torch.equal(found.class_after, explainer.perturb(X).class_after)


# What cannot be used.


def always_true(X):
    return np.ones(len(X), dtype=bool)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("rows", "predictor", "error"),
    [
        (normal(10, 3), always_true, ConstantPredictorError),
        (normal(10, 3), interrupted, KeyboardInterrupt),
        (normal(10, 3), lambda X: X * np.nan, PredictorError),
        (torch.full((10, 3), torch.inf), two_classes, InvalidInputError),
    ],
)
def test_a_fit_that_is_broken_off_leaves_the_earlier_one(rows, predictor, error):
    X = normal(50, 3)
    explainer = MinimalPerturbation(**SMALL, epochs=1).fit(X, two_classes)
    before = explainer.perturb(X).perturbation
    with pytest.raises(error):
        explainer.fit(rows, predictor)
    assert torch.equal(explainer.perturb(X).perturbation, before)
    assert explainer.n_classes == 2


def test_a_fit_broken_off_while_learning_leaves_the_earlier_one(monkeypatch):
    X = normal(50, 3)
    explainer = MinimalPerturbation(**SMALL, epochs=1).fit(X, two_classes)
    before, accuracy = explainer.perturb(X).perturbation, explainer.recovery_accuracy
    monkeypatch.setattr(Perturber, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explainer.fit(normal(50, 2), three_classes)
    monkeypatch.undo()
    assert torch.equal(explainer.perturb(X).perturbation, before)
    assert (explainer.recovery_accuracy, explainer.n_classes) == (accuracy, 2)


def test_a_constant_black_box_is_named():
    with pytest.raises(ConstantPredictorError, match="gives class True for all 10 rows"):
        MinimalPerturbation().fit(normal(10, 3), always_true)
    with pytest.raises(ConstantPredictorError, match="one number a row: say with threshold="):
        MinimalPerturbation().fit(normal(10, 3), lambda X: 150 + X[:, 0])


def test_asking_before_fit_names_fit():
    for ask in (MinimalPerturbation().perturb, MinimalPerturbation().predict):
        with pytest.raises(NotFittedError, match="not fitted yet; call fit first"):
            ask(normal(2, 3))


NAN_IN_ROW_4 = normal(6, 3)
NAN_IN_ROW_4[4, 2] = math.nan
BAD_ROWS = {
    "NaN": (NAN_IN_ROW_4, "X has NaN or infinite values in 1 of 6 rows, first in row 4, column 2"),
    "none": (torch.zeros(0, 3), r"X is empty: its shape is \(0, 3\)"),
    "columns": (torch.zeros(2, 4), "X has 4 columns where 3 were expected, as in fitting"),
    "shape": (torch.zeros(3), r"X must be two-dimensional, .* shape \(3,\)"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_unusable_rows_are_located(linear, name):
    rows, message = BAD_ROWS[name]
    for use in (linear.perturb, linear.predict):
        with pytest.raises(InvalidInputError, match=message):
            use(rows)
    if name != "columns":
        with pytest.raises(InvalidInputError, match=message):
            MinimalPerturbation().fit(rows, two_classes)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, "target 3 is not one of the classes 0 to 2"),
        (-1, "target -1 is not one of the classes 0 to 2"),
        ([0, 1, 2, 7], "target 7 is not one of the classes 0 to 2"),
        ([0, 1], r"one for each of the 4 rows; it is torch.int64 of shape \(2,\)"),
        (1.0, "a class number.* it is torch.float32"),
        ("same", "a class number.* it is 'same'"),
        ({}, "a class number.* it is {}"),
    ],
)
def test_targets_that_are_no_classes_are_named(corners, target, message):
    with pytest.raises(InvalidInputError, match=message):
        corners.perturb(normal(4, 2), target)


@pytest.mark.parametrize(
    ("original_class", "message"),
    [
        ([0, 1], "original_class has 2 classes for 4 rows"),
        ([0, 1, 3, 0], "row 2 has class 3; fit saw the classes 0 to 2"),
        ([0, -1, 1, 0], "row 1 has class -1; fit saw the classes 0 to 2"),
    ],
)
def test_origins_that_are_no_classes_are_named(corners, original_class, message):
    with pytest.raises(InvalidInputError, match=message):
        corners.perturb(normal(4, 2), original_class=torch.tensor(original_class))


@pytest.mark.parametrize(
    "setting",
    [
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"learning_rate": 0.0},
        {"penalty": -1.0},
        {"penalty": math.nan},
        {"epochs": 0},
        {"batch_size": 0},
        {"scale": "row"},
        {"norm": "l3"},
        {"category_penalty": -1.0},
        {"max_categories": -1},
        {"noise": -0.5},
        {"query_budget": -1},
        {"query_rounds": 0},
        {"validation_fraction": 1.0},
        {"patience": 0},
    ],
)
def test_settings_that_mean_nothing_are_named(setting):
    ((name, value),) = setting.items()
    with pytest.raises(InvalidInputError, match=f"^{name} must be .*, is {value!r}$"):
        MinimalPerturbation(**setting)


# The check: a search along each row's perturbation.


@pytest.fixture(scope="module")
def half_plane():
    """Class 1 where x_0 + 2 x_1 > 1, and an explainer fitted to it."""
    black_box = BlackBox(lambda X: X[:, 0] + 2 * X[:, 1] > 1)
    rows = torch.randn(2048, 2, generator=torch.Generator().manual_seed(0))
    return black_box, MinimalPerturbation(epochs=10).fit(rows, black_box), rows[:256]


def test_the_check_stops_just_beyond_the_boundary(half_plane):
    black_box, explainer, rows = half_plane
    fitted = explainer.perturb(rows, black_box=black_box)
    checked = explainer.perturb(rows, black_box=black_box, line_search=True)
    assert checked.success.all()
    assert torch.equal(
        black_box.labels(checked.perturbed) != checked.original_class, checked.success
    )
    distance = (rows[:, 0] + 2 * rows[:, 1] - 1).abs() / 5**0.5
    length = checked.perturbation.norm(dim=1)
    assert (length >= distance).all()
    assert length.mean() < 1.1 * distance.mean() < fitted.perturbation.norm(dim=1).mean()
    # Along the same direction, only the length differs.
    cosine = torch.cosine_similarity(checked.perturbation, fitted.perturbation, dim=1)
    assert cosine.min() > 1 - 1e-5


def test_the_check_lengthens_a_step_that_falls_short(half_plane):
    black_box, explainer, rows = half_plane
    rows = rows[black_box.labels(rows) == 0]
    original_class = torch.zeros(len(rows)).long()
    further = BlackBox(lambda X: X[:, 0] + 2 * X[:, 1] > 5)
    assert (
        explainer.perturb(rows, original_class=original_class, black_box=further)
        .success.double()
        .mean()
        < 0.8
    )
    checked = explainer.perturb(
        rows, original_class=original_class, black_box=further, line_search=True
    )
    assert checked.success.all()
    assert further.labels(checked.perturbed).all()


def test_the_check_asks_at_most_twelve_times_a_row_and_counts(half_plane):
    black_box, explainer, rows = half_plane
    before = black_box.n_queries
    found = explainer.perturb(rows, black_box=black_box, line_search=True)
    assert found.queries == black_box.n_queries - before <= 12 * len(rows)
    alone = [
        explainer.perturb(rows[i : i + 1], black_box=black_box, line_search=True) for i in range(9)
    ]
    together = torch.cat([one.perturbed for one in alone])
    assert torch.allclose(together, found.perturbed[:9], atol=1e-5)


def test_where_nothing_flips_the_perturbation_stays_as_fitted(half_plane):
    _, explainer, rows = half_plane
    stubborn = BlackBox(lambda X: X[:, 0] > 1e9)
    found = explainer.perturb(rows, black_box=stubborn, line_search=True)
    assert not found.success.any()
    fitted = explainer.perturb(rows, original_class=torch.zeros(len(rows)).long())
    assert torch.equal(found.perturbation, fitted.perturbation)


def test_the_check_needs_a_black_box(half_plane):
    _, explainer, rows = half_plane
    with pytest.raises(InvalidInputError, match="black_box="):
        explainer.perturb(rows, line_search=True)


@pytest.mark.parametrize("option", [{"sparsify": True}, {"local_search": 10}])
def test_what_goes_with_the_check_says_so(half_plane, option):
    black_box, explainer, rows = half_plane
    with pytest.raises(InvalidInputError, match="go with line_search=True"):
        explainer.perturb(rows, black_box=black_box, **option)


# On a linear model all is known in closed form.


@pytest.mark.parametrize("n_columns", [2, 5, 20])
def test_on_a_linear_model_the_nearest_point_of_the_boundary_is_found(n_columns):
    weights, bias = normal(1, n_columns, seed=7)[0], 0.3
    black_box = BlackBox(lambda X: X @ weights + bias, arrays="torch", output_type="logits")
    explainer = MinimalPerturbation(epochs=10).fit(normal(2000, n_columns), black_box)
    rows = normal(500, n_columns, seed=1)
    signed = rows @ weights + bias
    found = explainer.perturb(rows, black_box=black_box, line_search=True)
    cosine = torch.cosine_similarity(found.perturbation, -signed.sign()[:, None] * weights)
    assert cosine.mean() > 0.98
    assert found.success.all()
    distance = signed.abs() / weights.norm()
    # Rows on the boundary itself have no length to be compared with.
    away = distance > 0.05
    length = found.perturbation.norm(dim=1)
    assert (length[away] / distance[away]).median() < 1.05
    assert length.mean() < 1.05 * distance.mean()


# Fits without a black box, with one, and what they say of themselves.


@pytest.mark.parametrize("kind", ["numbers", "names", "probabilities"])
def test_labels_alone_are_enough(kind):
    X = normal(400, 2)
    classes = three_classes(X.numpy()).argmax(axis=1)
    labels = {
        "numbers": classes,
        "names": NAMES[classes],
        "probabilities": torch.from_numpy(three_classes(X.numpy())).softmax(dim=1),
    }[kind]
    explainer = MinimalPerturbation(**SMALL, epochs=20).fit(X, labels=labels)
    assert (explainer.n_queries, explainer.validity) == (0, None)
    assert explainer.recovery_accuracy > 0.9
    rows = normal(100, 2, seed=1)
    found = explainer.perturb(rows)
    after = three_classes(found.perturbed.numpy()).argmax(axis=1)
    before = three_classes(rows.numpy()).argmax(axis=1)
    assert (after != before).mean() > 0.9


def test_labels_spare_the_questions_about_the_rows_but_not_those_around_them():
    X = normal(200, 3)
    box = BlackBox(two_classes)
    explainer = MinimalPerturbation(**{**SMALL, "query_budget": 50}, epochs=2)
    explainer.fit(X, box, labels=two_classes(X.numpy()))
    assert explainer.n_queries == box.n_queries == 50


def test_labels_are_the_numbers_of_the_black_boxs_columns():
    X = normal(300, 2)
    classes = three_classes(X.numpy()).argmax(axis=1)
    # No row of the middle class is there to show that 2 is the third column.
    two = classes != 1
    explainer = MinimalPerturbation(**{**SMALL, "query_budget": 100}, epochs=20)
    explainer.fit(X[two], BlackBox(three_classes), labels=classes[two])
    assert explainer.n_classes == 3
    assert explainer.predict(X[two]).tolist().count(1) == 0
    assert explainer.perturb(X, 2, black_box=three_classes).success.double().mean() > 0.6


def test_a_fit_needs_answers():
    with pytest.raises(InvalidInputError, match="a black box to query, or the labels it gave"):
        MinimalPerturbation().fit(normal(20, 2))
    with pytest.raises(PredictorError, match="given 20 rows and returned shape"):
        MinimalPerturbation().fit(normal(20, 2), labels=[0, 1])


@pytest.mark.parametrize("budget", [None, 0, 3, 37, 500])
def test_the_query_budget_is_spent_and_not_exceeded(budget):
    box = BlackBox(two_classes)
    explainer = MinimalPerturbation(**{**SMALL, "query_budget": budget}, epochs=2)
    explainer.fit(normal(150, 3), box)
    assert explainer.n_queries == box.n_queries == 150 + (150 if budget is None else budget)
    assert (explainer.validity is None) is (budget in (0, 3))


def test_query_rounds_make_perturbations_valid_that_fool_the_surrogate_alone():
    # No row lies within 1 of 0, so the surrogate puts its boundary there; the black box has it
    # at 0.8.
    def beyond(X):
        return X[:, 0] > 0.8

    X, rows = normal(1500, 3), normal(300, 3, seed=1)
    for some in (X, rows):
        some[:, 0] += some[:, 0].sign()
    validity = {}
    for budget in (0, 3000):
        settings = {**SMALL, "query_budget": budget}
        explainer = MinimalPerturbation(**settings, epochs=20).fit(X, beyond)
        found = explainer.perturb(rows, black_box=beyond)
        assert (found.class_after != found.original_class).double().mean() > 0.95
        validity[budget] = found.success.double().mean().item()
    assert validity[0] < 0.7
    assert validity[3000] > 0.9


def test_history_and_measures_describe_the_fit():
    explainer = MinimalPerturbation(
        **{**SMALL, "query_budget": 100}, epochs=4, query_rounds=2, validation_fraction=0.2
    ).fit(normal(300, 3), two_classes)
    history = explainer.history
    # Four epochs, and one in each of two rounds.
    assert {name: len(values) for name, values in history["surrogate"].items()} == {
        "loss": 6,
        "accuracy": 6,
        "validation_loss": 6,
    }
    assert set(map(len, history["perturber"].values())) == {6}
    assert history["rounds"]["questions"] == [40, 40]
    assert history["surrogate"]["loss"][-1] < history["surrogate"]["loss"][0]
    assert 0.5 < explainer.validity <= 1


def test_recovery_is_measured_on_rows_that_were_not_fitted():
    # Labels that cannot be learned, only memorised.
    X, labels = normal(300, 20), normal(300, 1, seed=5)[:, 0] > 0
    settings = {**SMALL, "surrogate_widths": (256, 256), "epochs": 60}
    memorised = MinimalPerturbation(**settings).fit(X, labels=labels)
    honest = MinimalPerturbation(**settings, validation_fraction=0.3).fit(X, labels=labels)
    assert memorised.recovery_accuracy > 0.95 > 0.75 > honest.recovery_accuracy


def test_patience_needs_validation_rows():
    with pytest.raises(InvalidInputError, match="set validation_fraction too"):
        MinimalPerturbation(patience=3)


def test_a_poor_fit_warns_and_names_the_cure():
    X, labels = normal(200, 5), normal(200, 1, seed=5)[:, 0] > 0
    with pytest.warns(FitWarning, match="surrogate gives .* raise epochs or surrogate_widths"):
        MinimalPerturbation(**SMALL, epochs=1).fit(X, labels=labels)
    settings = {**SMALL, "query_budget": 100, "penalty": 5.0, "epochs": 8}
    with pytest.warns(FitWarning, match="rows flip the black box: raise query_budget"):
        MinimalPerturbation(**settings).fit(normal(300, 3), two_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MinimalPerturbation(epochs=8, batch_size=32).fit(normal(500, 3), two_classes)


def test_certainty_is_the_distance_to_the_boundary_and_its_rank(half_plane):
    _, explainer, rows = half_plane
    certainty = explainer.certainty(rows)
    fitted = explainer.perturb(rows)
    assert (certainty.length <= fitted.length).all()
    spread = explainer._fitted.spread
    normal_vector = torch.tensor([1.0, 2.0]) * spread
    exact = (rows[:, 0] + 2 * rows[:, 1] - 1).abs() / normal_vector.norm()
    # To the surrogate's boundary, which is nearly the plane.
    assert (certainty.length - exact).abs().median() < 0.05
    assert torch.equal(explainer.certainty(rows[:7]).length, certainty.length[:7])
    assert ((certainty.rank >= 0) & (certainty.rank <= 1)).all()
    order = certainty.length.argsort()
    assert (certainty.rank[order].diff() >= 0).all()
    # These rows were fitted to, so their ranks are spread evenly.
    assert abs(certainty.rank.mean() - 0.5) < 0.1
    distance = (rows[:, 0] + 2 * rows[:, 1] - 1).abs()
    near, far = distance < distance.quantile(0.1), distance > distance.quantile(0.9)
    assert certainty.rank[near].max() < certainty.rank[far].min()


# What is preferred among changes that flip.


def test_the_l1_norm_changes_fewer_columns():
    weights = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0])

    def share_of_the_largest(norm):
        explainer = MinimalPerturbation(**SMALL, epochs=15, norm=norm, penalty=0.3)
        explainer.fit(normal(2000, 5), lambda X: X @ weights.numpy() > 0)
        size = explainer.perturb(normal(200, 5, seed=1)).perturbation.abs()
        return (size[:, 0] / size.sum(dim=1)).mean()

    # In the l2 norm all columns share in, by their weights: 3 of 7.
    assert share_of_the_largest("l2") < 0.55
    assert share_of_the_largest("l1") > 0.8


def test_a_costly_column_is_left_alone():
    schema = FeatureSchema([Continuous("dear", 0, cost=20.0), Continuous("cheap", 1)])
    explainer = MinimalPerturbation(schema=schema, epochs=20, dropout=0.0)
    explainer.fit(normal(2000, 2), lambda X: X[:, 0] + X[:, 1] > 0)
    size = explainer.perturb(normal(200, 2, seed=1)).perturbation.abs().mean(dim=0)
    assert size[0] < 0.1 * size[1]


def test_a_result_stays_what_it_was_when_its_explainer_is_fitted_again():
    X, rows = normal(200, 2), normal(20, 2, seed=1)
    explainer = MinimalPerturbation(**SMALL, epochs=3).fit(X, lambda X: X[:, 0] > 0)
    read, unread = explainer.perturb(rows), explainer.perturb(rows)
    before = [read.class_before, read.class_after, read.length]
    explainer.fit(X, lambda X: X[:, 0] < 0)
    after = [unread.class_before, unread.class_after, unread.length]
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.mark.parametrize("line_search", [False, True])
def test_a_result_stays_what_it_was_when_its_rows_and_classes_are_overwritten(line_search):
    """As callers do that read batch after batch into one tensor."""

    def rule(X):
        return X[:, 0] > 0

    explainer = MinimalPerturbation(**SMALL, epochs=3).fit(normal(200, 2), rule)
    rows, box = normal(20, 2, seed=1), rule if line_search else None
    classes = rule(rows).long()

    def values(found):
        lazy = (found.perturbation, found.length, found.class_before, found.class_after)
        return [found.original, found.original_class, found.target, *lazy]

    read, unread = (
        explainer.perturb(
            rows, 1 - classes, original_class=classes, black_box=box, line_search=line_search
        )
        for _ in range(2)
    )
    given = explainer.perturb(rows, target := 1 - classes)
    before = [value.clone() for value in values(read)]
    rows.zero_(), classes.fill_(1), target.fill_(0)
    assert all(torch.equal(*pair) for pair in zip(before, values(unread), strict=True))
    assert torch.equal(given.target, before[2])


class LargestTensor(TorchDispatchMode):
    """Remembers the most bytes that any one step of the work inside it made."""

    def __init__(self):
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        before = {x.untyped_storage().data_ptr() for x in tree_leaves(args) if is_tensor(x)}
        for made in tree_leaves(found):
            if is_tensor(made) and made.untyped_storage().data_ptr() not in before:
                self.n_bytes = max(self.n_bytes, made.untyped_storage().nbytes())
        return found


@pytest.mark.parametrize("schema", [None, "coded"])
@pytest.mark.parametrize("validation_fraction", [0.0, 0.3])
def test_no_step_of_a_fit_takes_as_much_memory_as_the_rows(schema, validation_fraction):
    """Nor grows with their number: whatever is as long as they are holds a number or two each."""
    rows = torch.randn(60_000, 40, generator=torch.Generator().manual_seed(0))
    if schema is not None:
        rows[:, 0] = (rows[:, 0] > 0).float()
        schema = FeatureSchema(
            [Categorical("coded", ("no", "yes"), (0,), one_hot=False)]
            + [Continuous(f"x{k}", k, lower=-9.0) for k in range(1, 40)]
        )
    explainer = MinimalPerturbation(
        schema=schema, epochs=1, batch_size=6000, query_budget=500,
        validation_fraction=validation_fraction, surrogate_widths=(4,), perturber_widths=(4,),
    )  # fmt: skip
    with LargestTensor() as largest, warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        explainer.fit(rows, BlackBox(lambda X: X[:, 1] > 0, arrays="torch"))
    assert largest.n_bytes < rows.nbytes / 3
