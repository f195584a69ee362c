from __future__ import annotations

import inspect
import math
from dataclasses import fields
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_matrices import matrices
from torch import Generator, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xai_adapters import Box, InvariantBox
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers import SamplingName
from xai_adapters.box.settings import BoxSettings, InvariantBoxOptions
from xai_adapters.errors import BoxWarning, InvalidInputError, PredictorError, UnknownOptionError

N_FEATURES = 3
OPTIMIZERS = ["adam", "rmsprop", "sgd"]


def network(first: torch.Tensor, second: torch.Tensor):
    # With these no two classes have the same output at a row of whole numbers.
    offset = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    return lambda x: (x @ first).clamp(min=0) @ second + offset


# A model with one hidden layer and K = 3 classes, and two to four rows.
MODELS = st.builds(network, matrices(N_FEATURES, 4), matrices(4, 3))
ROWS = st.integers(2, 4).flatmap(lambda n: matrices(n, N_FEATURES))


def linear_model(x: torch.Tensor) -> torch.Tensor:
    """Class 0 while x_0 + 0.2 x_1 > 0; x_2 is irrelevant."""
    score = x[:, 0] + 0.2 * x[:, 1] + 0 * x[:, 2]
    return torch.stack((score, -score), dim=1) * 5


LINEAR_ROWS = torch.tensor([[0.5, 0.1, 0.0], [0.2, -0.3, 1.0], [-0.7, 0.5, -1.0], [0.05, 0.0, 0.0]])


def same_boxes(one: Box, other: Box, *, tolerance: float = 0.0) -> None:
    assert torch.equal(one.n_steps, other.n_steps)
    assert torch.equal(one.converged, other.converged)
    assert torch.equal(one.target, other.target)
    for name in ("width", "objective", "violation_rate"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance
        )


def rows_of(box: Box, rows) -> Box:
    return Box(**{field.name: getattr(box, field.name)[rows] for field in fields(Box)})


# Algorithm 1, written plainly.


def plain_update(optimizer, w, g, state, step, step_size):
    """One feature's new width: Kingma and Ba's Adam, Hinton's RMSProp, or plain descent."""
    if optimizer == "sgd":
        return w - step_size * g
    if optimizer == "rmsprop":
        state["v"] = 0.97 * state.get("v", 0.0) + 0.03 * g * g
        return w - step_size * g / (math.sqrt(state["v"]) + 1e-8)
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * g
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * g * g
    m_hat, v_hat = state["m"] / (1 - 0.9**step), state["v"] / (1 - 0.999**step)
    return w - step_size * m_hat / (math.sqrt(v_hat) + 1e-8)


def plain_hinge(model, x, c, w, draws):
    """sum_{j != c} E_t max(0, f_j - f_c), and the share of draws with another class."""
    total, n_violations = 0.0, 0
    for t in draws:
        p = model((x + t * w)[None])[0].softmax(dim=0)
        total = total + sum(torch.clamp(p[j] - p[c], min=0) for j in range(len(p)) if j != c)
        n_violations += bool((p > p[c]).any())
    return total / len(draws), n_violations / len(draws)


def plain_box(
    model,
    x,
    *,
    optimizer,
    bound,
    penalty,
    step_size,
    schedule,
    n_steps,
    n_draws,
    tolerance,
    patience,
    seed,
):
    """Width, steps taken and whether it converged, for one row; lambda is penalty times d."""
    generator = Generator().manual_seed(2 * seed)
    c, d = int(model(x[None])[0].argmax()), len(x)
    w, states = torch.zeros(d, dtype=torch.float64), [{} for _ in range(d)]
    gain, gain_before = 0.0, -math.inf
    factor = {
        "constant": lambda share: 1.0,
        "sqrt": lambda share: (1 - share) ** 0.5,
        "linear": lambda share: 1 - share,
        "cosine": lambda share: math.cos(math.pi * share / 2) ** 2,
    }[schedule]
    for step in range(1, n_steps + 1):
        draws = torch.empty(n_draws, d, dtype=torch.float64).uniform_(-1, 1, generator=generator)
        w.requires_grad_()
        hinge, rate = plain_hinge(model, x, c, w, draws)
        objective = w.sum() - penalty * d * hinge
        (gradient,) = torch.autograd.grad(-objective, w)
        w = w.detach()
        if rate == 1 and objective < 0 and gradient.sum() < 0:
            gradient = gradient.abs()
        gain += float(objective.detach()) / d
        moved = [
            plain_update(
                optimizer,
                float(w[i]),
                float(gradient[i]),
                states[i],
                step,
                step_size * factor((step - 1) / n_steps),
            )
            for i in range(d)
        ]
        w = torch.tensor(
            [min(max(0.0, v), float(bound[i])) for i, v in enumerate(moved)], dtype=torch.float64
        )
        if tolerance > 0 and step % patience == 0:
            if gain - gain_before < tolerance * patience:
                return w, step, True
            gain, gain_before = 0.0, gain
    return w, n_steps, False


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@settings(max_examples=8)
@given(
    model=MODELS,
    rows=ROWS,
    seed=st.integers(0, 3),
    penalty=st.sampled_from([0.5, 10.0]),
    schedule=st.sampled_from(["constant", "sqrt", "linear", "cosine"]),
)
def test_boxes_are_those_of_algorithm_1_written_plainly(
    optimizer, model, rows, seed, penalty, schedule
):
    bound = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    shared = {
        "optimizer": optimizer,
        "penalty": penalty,
        "step_size": 0.005 if optimizer == "sgd" else 0.1,
        "schedule": schedule,
        "n_steps": 12,
        "n_draws": 4,
        "tolerance": 0.02,
        "patience": 4,
        "seed": seed,
    }
    box = InvariantBox(**shared, sampling="uniform", max_width=bound, output_type="logits").solve(
        model, rows
    )
    for row, x in enumerate(rows):
        width, n_steps, converged = plain_box(model, x, bound=bound, **shared)
        assert box.width[row].tolist() == pytest.approx(width.tolist(), abs=1e-9)
        assert (box.n_steps[row], box.converged[row]) == (n_steps, converged)


def test_the_plain_comparison_meets_rows_that_stop_at_different_steps():
    box = InvariantBox(
        n_steps=200, tolerance=0.01, patience=10, step_size=0.05, sampling="uniform"
    ).solve(linear_model, LINEAR_ROWS)
    assert len(set(box.n_steps.tolist())) > 1
    assert box.converged.any()


@given(MODELS, ROWS, st.integers(0, 3))
def test_objective_and_violation_rate_are_counted_on_fresh_draws(model, rows, seed):
    solver = InvariantBox(
        n_steps=5, n_check_draws=16, step_size=0.3, seed=seed, output_type="logits"
    )
    box = solver.solve(model, rows)
    generator = Generator().manual_seed(2 * seed + 1)
    draws = torch.empty(16, N_FEATURES, dtype=torch.float64).uniform_(-1, 1, generator=generator)
    for row, x in enumerate(rows):
        w = box.width[row]
        hinge, rate = plain_hinge(model, x, int(box.target[row]), w, draws)
        assert box.objective[row].item() == pytest.approx(
            float(w.mean() - 100 / 3 * hinge), abs=1e-9
        )
        assert box.violation_rate[row].item() == pytest.approx(rate)


def test_the_violation_rate_is_confirmed_by_independent_draws():
    box = InvariantBox(penalty=0.5, n_check_draws=2000).solve(linear_model, LINEAR_ROWS)
    t = torch.empty(2000, N_FEATURES).uniform_(-1, 1, generator=Generator().manual_seed(99))
    rates = []
    for x, w, c in zip(LINEAR_ROWS, box.width, box.target, strict=True):
        rates.append((linear_model(x + t * w).argmax(dim=1) != c).double().mean().item())
    assert max(rates) > 0.05
    # Five standard deviations of a difference of two shares of 2,000 draws.
    assert box.violation_rate.tolist() == pytest.approx(rates, abs=5 * (0.5 / 2000) ** 0.5)


# What a box is.


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(model=MODELS, rows=ROWS, bound=st.lists(st.integers(1, 4), min_size=3, max_size=3))
def test_widths_lie_between_0_and_the_bound_of_their_feature(optimizer, model, rows, bound):
    bound = torch.tensor(bound) / 4
    box = InvariantBox(
        optimizer=optimizer, max_width=bound, n_steps=8, n_draws=4, step_size=0.4, n_check_draws=4
    ).solve(model, rows)
    assert (box.width >= 0).all()
    assert (box.width <= bound).all()
    assert box.width.shape == rows.shape
    relevance = [[max(widths) - w for w in widths] for widths in box.width.tolist()]
    assert box.scores().tolist() == relevance


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_irrelevant_feature_is_as_wide_as_allowed_and_relevant_ones_are_not(optimizer):
    bound = torch.tensor([1.0, 1.0, 0.7])
    box = InvariantBox(
        optimizer=optimizer,
        max_width=bound,
        penalty=10,
        step_size=0.002 if optimizer == "sgd" else 0.01,
        schedule="constant",
        n_steps=500,
    ).solve(linear_model, LINEAR_ROWS)
    assert box.width[:, 2].tolist() == pytest.approx([0.7] * 4)
    assert (box.width[:, 0] < 0.95).all()
    assert (box.width[:, 0] < box.width[:, 1]).all()
    # Nearer the boundary the box is smaller.
    size = box.width.sum(dim=1)
    assert size[0] > size[1] > size[3]
    assert (box.violation_rate < 0.2).all()


def test_a_larger_penalty_gives_a_box_that_violates_less():
    rates = [
        InvariantBox(penalty=penalty).solve(linear_model, LINEAR_ROWS).violation_rate.mean()
        for penalty in (0.2, 2.0, 50.0)
    ]
    assert rates[0] > rates[1] > rates[2]


def test_the_default_penalty_is_the_authors_100_times_the_mean_over_classes():
    default, explicit = (
        InvariantBox(n_steps=30, penalty=penalty).solve(linear_model, LINEAR_ROWS)
        for penalty in (None, 100 / 2)
    )
    same_boxes(default, explicit)


def test_without_a_penalty_the_box_is_all_that_is_allowed():
    box = InvariantBox(penalty=0.0).solve(linear_model, LINEAR_ROWS)
    assert torch.equal(box.width, torch.ones_like(box.width))


@pytest.mark.parametrize("nothing", [-torch.inf, -1e9])
@given(model=MODELS, rows=ROWS, n_more=st.integers(1, 5))
def test_classes_that_never_win_change_nothing(nothing, model, rows, n_more):
    def with_more(x):
        outputs = model(x)
        return torch.cat((outputs, outputs.new_full((len(x), n_more), nothing)), dim=1)

    # Importance sampling is tilted towards the likeliest classes, of which there are more.
    solver = InvariantBox(
        penalty=10, n_steps=10, n_draws=4, step_size=0.2, output_type="logits", sampling="uniform"
    )
    same_boxes(solver.solve(model, rows), solver.solve(with_more, rows), tolerance=1e-9)


def test_a_target_that_is_not_the_prediction_has_an_empty_box():
    target = torch.tensor([1, 0, 0, 0])
    box = InvariantBox(n_steps=50).solve(linear_model, LINEAR_ROWS, target)
    lost = torch.tensor([True, False, True, False])
    assert torch.equal(box.target, target)
    assert not box.width[lost].any()
    assert box.width[~lost].any(dim=1).all()
    assert box.violation_rate[lost].tolist() == [1.0, 1.0]
    assert box.n_steps[lost].tolist() == [0, 0]
    assert not box.converged[lost].any()
    assert box.objective.isfinite().all()
    assert not box.scores()[lost].any()
    own = InvariantBox(n_steps=50).solve(linear_model, LINEAR_ROWS)
    assert torch.equal(box.width[~lost], own.width[~lost])


def test_features_that_are_tied_get_one_width():
    tied = torch.tensor([[0, 3, 0]])
    bound = torch.tensor([1.0, 1.0, 0.4])
    box = InvariantBox(max_width=bound).solve(linear_model, LINEAR_ROWS, tied=tied)
    assert torch.equal(box.width[:, 0], box.width[:, 2])
    assert (box.width[:, 0] <= 0.4).all()
    assert (box.width[:, 1] > box.width[:, 0]).all()
    # One width for features 0 and 1 is the width of a model of their sum.
    summed = InvariantBox(n_steps=60, max_width=1.0).solve(
        lambda x: linear_model(x @ torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0, 0, 0]])),
        torch.tensor([[0.5, 0.1, 0.0]]),
        tied=torch.tensor([0, 0, 1]),
    )
    assert torch.equal(summed.width[:, 0], summed.width[:, 1])


def test_ties_of_each_row_are_its_own():
    tied = torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 2], [5, 5, 5]])
    every = InvariantBox(n_steps=80).solve(linear_model, LINEAR_ROWS, tied=tied)
    for row in range(4):
        alone = InvariantBox(n_steps=80).solve(linear_model, LINEAR_ROWS[[row]], tied=tied[[row]])
        torch.testing.assert_close(every.width[[row]], alone.width, rtol=1e-4, atol=1e-5)
    assert every.width[1, 1] == every.width[1, 2] != every.width[1, 0]
    assert len(set(every.width[3].tolist())) == 1


def test_a_tied_group_is_as_wide_as_its_narrowest_feature_may_be():
    bound = torch.tensor([0.9, 0.6, 0.3])
    tied = torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 2], [5, 5, 5]])
    # The first row is not searched, so that the others' numbers are not their places.
    box = InvariantBox(penalty=0.0, n_steps=120, max_width=bound).solve(
        linear_model, LINEAR_ROWS, torch.tensor([1, 0, 1, 0]), tied=tied
    )
    wanted = torch.tensor([[0, 0, 0], [0.9, 0.3, 0.3], [0.9, 0.6, 0.3], [0.3, 0.3, 0.3]])
    assert torch.equal(box.width, wanted)


ONE_OUTPUT = {
    "logit": (lambda x: x[:, :1] - 0.3, {"output_type": "logits"}),
    "logit without its dimension": (lambda x: x[:, 0] - 0.3, {"output_type": "logits"}),
    "probability": (lambda x: (x[:, 0] - 0.3).sigmoid(), {}),
    "score with a threshold": (lambda x: x[:, 0], {"output_type": "logits", "threshold": 0.3}),
}


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_one_output_is_a_decision_between_two_classes(name):
    model, settings = ONE_OUTPUT[name]
    two = InvariantBox().solve(
        lambda x: torch.stack((0 * x[:, 0], x[:, 0] - 0.3), dim=1), LINEAR_ROWS
    )
    one = InvariantBox(**settings).solve(model, LINEAR_ROWS)
    assert one.target.tolist() == [1, 0, 0, 0]
    same_boxes(one, two, tolerance=1e-3)


def test_rows_may_have_any_shape():
    images = LINEAR_ROWS.view(4, 1, 3)
    box = InvariantBox(n_steps=60, max_width=torch.tensor([1.0, 0.5, 0.7])).solve(
        lambda x: linear_model(x[:, 0]), images
    )
    flat = InvariantBox(n_steps=60, max_width=torch.tensor([1.0, 0.5, 0.7])).solve(
        linear_model, LINEAR_ROWS
    )
    assert torch.equal(box.width, flat.width.view(4, 1, 3))


class HostReads(TorchDispatchMode):
    """Counts what makes the host wait for an accelerator: looking at what tensors hold."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique")
        self.n += function.overloadpacket.__name__ in waits
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampling", get_args(SamplingName))
def test_within_a_step_the_host_does_not_wait_for_an_accelerator(sampling, monkeypatch):
    make = Hinge.__init__

    def as_on_an_accelerator(hinge, *args, **kwargs):
        make(hinge, *args, **kwargs)
        hinge.reads_are_free = False

    monkeypatch.setattr(Hinge, "__init__", as_on_an_accelerator)
    reads = []
    for n_steps in (3, 6):
        with HostReads() as seen:
            box = InvariantBox(n_steps=n_steps, sampling=sampling, bounds=(-9.0, 9.0))
            box.solve(linear_model, LINEAR_ROWS)
        reads.append(seen.n)
    assert reads[0] == reads[1] > 0


# What must not matter.


@settings(max_examples=15)
@given(MODELS, ROWS, st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_neighbours_or_their_order(model, rows, random):
    solver = InvariantBox(
        n_steps=30, n_draws=4, step_size=0.1, tolerance=0.02, patience=5, n_check_draws=8
    )
    every = solver.solve(model, rows)
    order = random.sample(range(len(rows)), random.randint(1, len(rows)))
    same_boxes(solver.solve(model, rows[order]), rows_of(every, order), tolerance=1e-9)


@pytest.mark.parametrize("internal_batch_size", [1, 3, 10, 32, 64, 1000])
def test_the_internal_batch_size_changes_nothing(internal_batch_size):
    sizes = []

    def model(x):
        sizes.append(len(x))
        return linear_model(x)

    settings = {"n_steps": 12, "step_size": 0.05, "n_check_draws": 64}
    whole = InvariantBox(**settings).solve(linear_model, LINEAR_ROWS)
    cut = InvariantBox(**settings, internal_batch_size=internal_batch_size).solve(
        model, LINEAR_ROWS
    )
    same_boxes(cut, whole, tolerance=1e-5)
    assert max(sizes) <= internal_batch_size


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_row_that_stops_late_is_not_disturbed_by_those_that_stopped(optimizer):
    solver = InvariantBox(
        optimizer=optimizer,
        schedule="constant",
        n_steps=400,
        n_draws=16,
        patience=5,
        tolerance=0.01,
        step_size=0.005 if optimizer == "sgd" else 0.02,
    )
    every = solver.solve(linear_model, LINEAR_ROWS)
    assert len(set(every.n_steps.tolist())) > 1
    for row in range(len(LINEAR_ROWS)):
        alone = solver.solve(linear_model, LINEAR_ROWS[[row]])
        same_boxes(alone, rows_of(every, [row]), tolerance=1e-4)


def test_without_a_tolerance_all_rows_take_all_steps():
    box = InvariantBox(n_steps=30, patience=5, tolerance=0.0).solve(linear_model, LINEAR_ROWS)
    assert box.n_steps.tolist() == [30] * 4
    assert not box.converged.any()


def test_the_same_seed_gives_the_same_box_and_the_global_random_state_is_left():
    before = torch.get_rng_state()
    one, same, other = (
        InvariantBox(n_steps=50, seed=seed).solve(linear_model, LINEAR_ROWS) for seed in (1, 1, 2)
    )
    same_boxes(one, same)
    assert not torch.equal(one.width, other.width)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-2), (torch.float16, 5e-2), (torch.bfloat16, 0.1)],
)
def test_widths_are_float32_or_wider(dtype, tolerance):
    box = InvariantBox().solve(linear_model, LINEAR_ROWS.to(dtype))
    assert box.width.dtype == torch.promote_types(dtype, torch.float32)
    single = InvariantBox().solve(linear_model, LINEAR_ROWS)
    # Other precisions draw other numbers; where the box ends is the same.
    assert box.width.flatten().tolist() == pytest.approx(
        single.width.flatten().tolist(), abs=tolerance + 0.05
    )


@pytest.mark.parametrize("guard", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("breaks", [False, True], ids=["returns", "raises"])
def test_model_rows_and_grad_mode_are_left_as_found(guard, breaks):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    if breaks:
        calls = []

        def stop(*_):
            calls.append(1)
            if len(calls) == 3:
                raise KeyError

        net[3].register_forward_hook(stop)
    rows = LINEAR_ROWS.clone().requires_grad_()
    with guard():
        try:
            box = InvariantBox(n_steps=10).solve(net, rows)
            assert not breaks
            assert not box.width.requires_grad
        except KeyError:
            assert breaks
        assert torch.is_grad_enabled() is (guard is torch.enable_grad)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(rows, LINEAR_ROWS)
    assert rows.grad is None


# What cannot be used.


def test_a_model_without_a_gradient_is_named():
    with pytest.raises(PredictorError, match="no gradient with respect to the rows"):
        InvariantBox().solve(lambda x: linear_model(x.detach()), LINEAR_ROWS)


def test_a_model_that_returns_nan_is_named():
    with pytest.raises(PredictorError, match="returned NaN or inf, first for row 2"):
        InvariantBox().solve(
            lambda x: linear_model(x).where(x[:, :1] > -0.5, torch.nan), LINEAR_ROWS
        )


@pytest.mark.parametrize(
    "model",
    [
        lambda x: linear_model(x).where(x[:, 1:2] < 0.3, torch.nan),
        # Here the gradient is not a number either.
        lambda x: linear_model(x) + 0 * (0.3 - x[:, 1:2]).sqrt(),
    ],
)
def test_nan_inside_a_box_is_a_violation_and_stays_out_of_the_widths(model):
    rows = LINEAR_ROWS[:2] - torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    with pytest.warns(BoxWarning, match=r"returns NaN inside the box of 1 of 2 rows \(0\)"):
        box = InvariantBox(n_steps=300).solve(model, rows)
    alone = InvariantBox(n_steps=300).solve(linear_model, rows[[1]])
    for field in fields(Box):
        found = getattr(box, field.name)
        assert field.name == "history" or found.isfinite().all()
    # It was left by draws with x_1 beyond 0.3: where the width is 1, two in five.
    assert 0.2 < box.violation_rate[0] < 0.5
    assert box.width[1].tolist() == pytest.approx(alone.width[0].tolist(), abs=1e-4)


@pytest.mark.parametrize("sampling", ["uniform", "adversarial"])
def test_a_gradient_that_is_not_finite_is_warned_of_and_stays_out_of_the_widths(sampling):
    blend = torch.tensor([1.0, 0.0])

    def model(x):
        # Below -0.3 what is added is 0, and its gradient infinity times 0.
        left = 0.3 + x[:, 1:2]
        return linear_model(x) + (left * (left > 0)).sqrt() * blend

    settings = {"n_steps": 60, "sampling": sampling, "penalty": 2.0}
    with pytest.warns(BoxWarning, match=r"gradient is not finite inside the box of . of 2 rows"):
        box = InvariantBox(**settings).solve(model, LINEAR_ROWS[[0, 3]])
    for field in fields(Box):
        found = getattr(box, field.name)
        assert field.name == "history" or found.isfinite().all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), "floating point to be perturbed; got torch.int64"),
        (torch.zeros(0, 3), r"no rows to explain: the shape is \(0, 3\)"),
        (torch.zeros(3), r"a row of features for each example; their shape is \(3,\)"),
        (torch.tensor([[0.0], [torch.inf]]), "x has .* 1 of 2 rows, first in row 1, column 0"),
    ],
)
def test_unusable_rows_are_located(rows, message):
    with pytest.raises(InvalidInputError, match=message):
        InvariantBox().solve(linear_model, rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": torch.tensor(2)}, r"target \[2\] is not among the classes 0 to 1"),
        ({"target": torch.tensor([0, 1])}, "one for each of the 4 rows"),
        ({"tied": torch.tensor([[0, 1]])}, "feature mask of shape"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        InvariantBox().solve(linear_model, LINEAR_ROWS, **arguments)


def test_a_bound_that_does_not_fit_is_named():
    with pytest.raises(
        InvalidInputError, match=r"max_width of shape \(2,\) does not fit .* \(3,\)"
    ):
        InvariantBox(max_width=torch.ones(2)).solve(linear_model, LINEAR_ROWS)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_width": 0.0}, "max_width must be more than 0, is 0.0"),
        ({"max_width": math.nan}, "max_width must be more than 0, is nan"),
        ({"max_width": "wide"}, "max_width must be a number or a tensor, is 'wide'"),
        ({"penalty": -1.0}, "penalty must be at least 0, is -1.0"),
        ({"penalty": "10"}, "penalty must be a number or None, is '10'"),
        ({"step_size": 0.0}, "step_size must be more than 0, is 0.0"),
        ({"n_steps": 0}, "n_steps must be at least 1, is 0"),
        ({"n_steps": 2.5}, "n_steps must be a whole number, is 2.5"),
        ({"n_draws": 0}, "n_draws must be at least 1, is 0"),
        ({"tolerance": -1e-3}, "tolerance must be at least 0, is -0.001"),
        ({"patience": 0}, "patience must be at least 1, is 0"),
        ({"n_check_draws": 0}, "n_check_draws must be at least 1, is 0"),
        ({"internal_batch_size": 0}, "internal_batch_size must be at least 1, is 0"),
        ({"seed": 0.5}, "seed must be a whole number, is 0.5"),
        ({"threshold": "half"}, "threshold must be a number or None, is 'half'"),
        ({"show_progress": 1}, "show_progress must be True or False, is 1"),
    ],
)
def test_settings_that_mean_nothing_are_named(setting, message):
    with pytest.raises(InvalidInputError, match=message):
        InvariantBox(**setting)


def test_options_that_do_not_exist_are_answered_with_the_nearest():
    with pytest.raises(UnknownOptionError, match=r"InvariantBox has no option 'draw'.*'n_draws'"):
        InvariantBox(draw=3)
    with pytest.raises(UnknownOptionError, match=r"InvariantBox.solve has no option 'baselines'"):
        InvariantBox().solve(linear_model, LINEAR_ROWS, baselines=0.0)


def test_options_and_settings_are_the_same():
    settings = [field.name for field in fields(BoxSettings)]
    assert sorted(InvariantBoxOptions.__annotations__) == sorted(settings)
    assert list(inspect.signature(InvariantBox).parameters) == settings


def test_the_repr_is_the_call():
    assert repr(InvariantBox()) == "InvariantBox()"
    assert repr(InvariantBox(n_steps=3, sampling="uniform")) == (
        "InvariantBox(sampling='uniform', n_steps=3)"
    )


def test_a_box_that_was_returned_does_not_change():
    rows, target = LINEAR_ROWS.clone(), torch.tensor([0, 0, 1, 0])
    box = InvariantBox(n_steps=5, bounds=(-2, 2)).solve(linear_model, rows, target)
    before = {field.name: getattr(box, field.name).clone() for field in fields(Box)}
    rows.zero_(), target.fill_(1)
    for name, value in before.items():
        torch.testing.assert_close(getattr(box, name), value, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"optimizer": "lbfgs"},
            "optimizer must be one of 'adam', 'rmsprop', 'sgd', or a callable; is 'lbfgs'",
        ),
        (
            {"output_type": "odds"},
            "output_type must be one of .*auto.*probabilities.*logits.* is 'odds'",
        ),
    ],
)
def test_names_that_are_not_known_are_answered_with_those_that_are(setting, message):
    with pytest.raises(InvalidInputError, match=message):
        InvariantBox(**setting)


@pytest.mark.parametrize("sampling", ["importance", "uniform"])
def test_a_box_that_has_left_the_class_for_good_comes_back(sampling):
    # The class ends three steps from the row, and after the next one probabilities are flat.
    def model(x):
        return torch.stack((0 * x[:, 0] + 20, 6000 * x.square().mean(dim=1)), dim=1)

    box = InvariantBox(sampling=sampling, output_type="logits").solve(model, torch.zeros(2, 50))
    assert (box.objective > 0).all()
    assert (box.violation_rate < 0.1).all()
