from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_matrices import matrices
from torch import Generator

from xai_adapters.box.expected_hinge import Samples, estimate
from xai_adapters.box.geometry import Boxes
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.samplers import SAMPLERS
from xai_adapters.box.shapes import empty_boxes
from xai_adapters.errors import PredictorError
from xai_adapters.model.decision import Decision

N_FEATURES, N_DRAWS = 2, 3


@st.composite
def problems(draw):
    """A model with one hidden layer, rows, their classes, widths and draws of t."""
    n_rows, n_classes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    first, second = draw(matrices(N_FEATURES, 3)), draw(matrices(3, n_classes))
    seed = Generator().manual_seed(draw(st.integers(0, 100)))
    rows = draw(matrices(n_rows, N_FEATURES))
    target = torch.tensor(
        draw(st.lists(st.integers(0, max(n_classes, 2) - 1), min_size=n_rows, max_size=n_rows))
    )
    width = draw(matrices(n_rows, N_FEATURES)).abs() / 2
    draws = torch.empty(N_DRAWS, N_FEATURES, dtype=torch.float64).uniform_(generator=seed)
    return lambda x: torch.tanh(x @ first) @ second, rows, target, width, draws


def plain_hinge(model, row, c, width, draws, on):
    """Proposition 3.1's hinges over classes, averaged over draws, and the share of violations."""
    total, violations = 0.0, 0
    for t in draws:
        point = torch.stack([row[i] + (2 * t[i] - 1) * width[i] for i in range(len(row))])
        logits = model(point[None])[0]
        if len(logits) == 1:
            logits = torch.stack((0 * logits[0], logits[0]))
        p = list(logits) if on == "logits" else [z.exp() / logits.exp().sum() for z in logits]
        hinges = [torch.relu(p[j] - p[c]) for j in range(len(p)) if j != c]
        total = total + sum(hinges)
        violations += any(h > 0 for h in hinges)
    return total / len(draws), violations / len(draws)


@pytest.fixture(scope="module", autouse=True)
def few_numbers_are_many() -> Iterator[None]:
    """The points of these problems are too few for the way through those that violate."""
    with patch("xai_adapters.box.hinge._SMALL", 0):
        yield


@given(
    problems(),
    st.sampled_from([None, 1, 2, 4, 7]),
    st.sampled_from(["probabilities", "logits"]),
)
def test_hinge_violations_and_slope_are_those_of_the_plain_loops(problem, batch_size, on):
    model, rows, target, width, draws = problem
    decision = Decision(model, rows, target, output_type="logits", batch_size=batch_size)
    hinge = Hinge(decision, on=on)
    samples = Samples(Boxes(torch.arange(len(rows)), rows, width[:, None]), draws)
    again = estimate(hinge, samples, derivative=False)
    assert not again.derivative.any()
    # Both ways to a slope: through all points at once, and through those that violate.
    for forward_first in (False, True):
        found = estimate(hinge, samples, forward_first=forward_first)
        assert torch.allclose(found.hinge, again.hinge)
        assert found.undefined is None
        for row in range(len(rows)):
            w = width[row].clone().requires_grad_()
            wanted, rate = plain_hinge(model, rows[row], int(target[row]), w, draws, on)
            # Without a violation the plain sum is a constant.
            (gradient,) = torch.autograd.grad(wanted + 0 * w.sum(), w)
            assert found.hinge[row].item() == pytest.approx(wanted.item(), abs=1e-12)
            assert found.violation_rate[row].item() == pytest.approx(rate)
            assert found.derivative[row, 0].tolist() == pytest.approx(gradient.tolist(), abs=1e-12)


def plain_smoothed(row, slopes, offset, width, draws, amount):
    """The slope of the mean hinge of a linear lead, each draw moved towards its projection."""
    total, features = [0.0] * len(row), range(len(row))
    for u in draws.tolist():
        lead = sum(slopes[i] * (row[i] + (2 * u[i] - 1) * width[i]) for i in features) + offset
        if lead <= 0:
            continue
        rise = [slopes[i] * width[i] for i in features]
        squares = sum(r * r for r in rise)
        along = sum(rise[i] * (2 * u[i] - 1) for i in features)
        for i in features:
            v = 2 * u[i] - 1
            projected = rise[i] * along / squares if squares > 0 else 0.0
            total[i] += slopes[i] * (v + amount * (projected - v)) / len(draws)
    return total


@given(
    matrices(2, N_FEATURES),
    matrices(1, N_FEATURES),
    st.floats(-0.5, 0.5),
    matrices(2, N_FEATURES),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 9),
)
def test_smoothed_slopes_are_of_draws_projected_on_what_they_raise(
    rows, slopes, offset, width, amount, seed
):
    slopes, width = slopes[0], width.abs() / 2
    decision = Decision(
        lambda x: torch.stack((0 * x[:, 0], x @ slopes + offset), dim=1),
        rows,
        torch.tensor([0, 0]),
        output_type="logits",
    )
    hinge = Hinge(decision, on="logits")
    draws = torch.empty(N_DRAWS, N_FEATURES, dtype=torch.float64)
    draws.uniform_(generator=Generator().manual_seed(seed))
    boxes = Boxes(torch.arange(2), rows, width[:, None])
    for forward_first in (False, True):
        samples = Samples(boxes, draws, smoothing=amount)
        slope = estimate(hinge, samples, forward_first=forward_first).derivative
        for row in range(2):
            wanted = plain_smoothed(
                rows[row].tolist(), slopes.tolist(), offset, width[row].tolist(), draws, amount
            )
            assert slope[row, 0].tolist() == pytest.approx(wanted, abs=1e-9)


@given(problems(), st.sampled_from(["symmetric", "asymmetric", "directed"]))
def test_smoothed_or_not_a_box_that_grows_in_proportion_gains_the_same(problem, shape):
    model, rows, target, width, draws = problem
    empty = empty_boxes(shape, rows, None, 0.7 if shape == "directed" else None)
    boxes = empty.replace(width=width[:, None].expand(-1, empty.n_sides, -1))
    hinge = Hinge(Decision(model, rows, target, output_type="logits"))
    gains = []
    for amount in (0.0, 0.3, 1.0):
        slope = estimate(hinge, Samples(boxes, draws, smoothing=amount)).derivative
        gains.append((slope * boxes.width).flatten(1).sum(dim=1))
    assert torch.allclose(gains[1], gains[0], atol=1e-12)
    assert torch.allclose(gains[2], gains[0], atol=1e-12)


@given(problems())
def test_summed_over_classes_the_hinge_of_probabilities_is_at_most_1(problem):
    model, rows, target, width, draws = problem
    hinge = Hinge(Decision(model, rows, target, output_type="logits"))
    boxes = Boxes(torch.arange(len(rows)), rows, width[:, None])
    found = estimate(hinge, Samples(boxes, draws), derivative=False).hinge
    assert ((found >= 0) & (found <= 1)).all()


@given(problems())
def test_some_rows_in_any_order_keep_their_class_and_their_reading(problem):
    model, rows, target, width, draws = problem
    hinge = Hinge(Decision(model, rows, target))
    boxes = Boxes(torch.arange(len(rows)), rows, width[:, None])
    every = estimate(hinge, Samples(boxes, draws), derivative=False)
    order = torch.arange(len(rows)).flip(0)[: max(1, len(rows) - 1)]
    some = estimate(hinge, Samples(boxes.take(order), draws), derivative=False)
    assert torch.allclose(every.hinge[order], some.hinge)
    assert torch.allclose(every.violation_rate[order], some.violation_rate)


def test_each_row_keeps_its_own_data():
    rows = torch.zeros(3, 1)
    offset = torch.tensor([-1.0, 0.5, 2.0])
    seen = []

    def model(x, offset):
        seen.append(offset.tolist())
        return torch.stack((0 * x[:, 0], x[:, 0] + offset), dim=1)

    decision = Decision(model, rows, row_data=(offset,), batch_size=4)
    assert decision.target.tolist() == [0, 1, 1]
    boxes = Boxes(torch.tensor([2, 0]), torch.zeros(2, 1), torch.zeros(2, 1, 1))
    estimate(Hinge(decision), Samples(boxes, torch.zeros(2, 1)), derivative=False)
    assert seen[-1] == [2.0, 2.0, -1.0, -1.0]


def two_scores(x):
    return torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)


def test_a_model_without_a_gradient_is_named():
    hinge = Hinge(Decision(lambda x: two_scores(x.detach()), torch.ones(2, 1)))
    boxes = Boxes(torch.arange(2), torch.ones(2, 1), torch.full((2, 1, 1), 3.0))
    samples = Samples(boxes, torch.zeros(3, 1))
    assert estimate(hinge, samples, derivative=False).violation_rate.tolist() == [1, 1]
    with pytest.raises(PredictorError, match="no gradient with respect to the rows"):
        estimate(hinge, samples)


@given(
    weights=matrices(N_FEATURES, 3),
    rows=matrices(2, N_FEATURES),
    width=matrices(2, N_FEATURES),
    n_draws=st.integers(2, 5),
    batch_size=st.sampled_from([None, 1, 4]),
)
def test_attacking_corners_of_a_linear_model_are_its_worst(
    weights, rows, width, n_draws, batch_size
):
    offset = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    decision = Decision(
        lambda x: x @ weights + offset, rows, output_type="logits", batch_size=batch_size
    )
    hinge, width = Hinge(decision, on="logits"), width.abs()
    boxes = Boxes(torch.arange(2), rows, width[:, None])
    sampler = SAMPLERS["adversarial"](hinge, boxes, n_draws, seed=0)
    # The first look tells where the corners go.
    for _ in range(2):
        found = estimate(hinge, sampler.sample(boxes, 0.0), learn=sampler.learn)
    for row in range(2):
        c = int(decision.target[row])
        scores = rows[row] @ weights + offset
        worst = torch.stack(
            [
                scores[j] - scores[c] + ((weights[:, j] - weights[:, c]).abs() * width[row]).sum()
                for j in range(3)
                if j != c
            ]
        ).relu()
        assert found.hinge[row].item() == pytest.approx(worst.sum().item(), abs=1e-9)
