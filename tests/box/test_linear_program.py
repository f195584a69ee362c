from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, nn

pytest.importorskip("scipy")

from xai_adapters.box.linear_program import linear_program_box
from xai_adapters.errors import InvalidInputError, PredictorError

SMALL = st.integers(-3, 3).map(float)
HARD = torch.inf


def vectors(n: int):
    return st.lists(SMALL, min_size=n, max_size=n)


def linear(weight, bias):
    weight = torch.tensor(weight, dtype=torch.float64)
    bias = torch.tensor(bias, dtype=torch.float64)
    return lambda x: x @ weight.T + bias


@st.composite
def models(draw, n_features: int, n_classes: int):
    """A linear model, a row with a class of its own, and C."""
    weight = [draw(vectors(n_features)) for _ in range(n_classes)]
    x = torch.tensor([draw(vectors(n_features))], dtype=torch.float64)
    return linear(weight, draw(vectors(n_classes))), x, draw(st.sampled_from([0.1, 0.5, 2.0]))


def knapsack(slope, margin, cap):
    """The largest sum of widths up to `cap` whose costs |slope| add up to the margin at most."""
    total, left = 0.0, margin
    for cost in sorted(abs(each) for each in slope):
        width = cap if cost * cap <= left else left / cost
        total, left = total + width, left - width * cost
    return total


@given(models(4, 2), st.booleans())
def test_with_one_rival_it_is_a_knapsack(problem, symmetric):
    model, x, cap = problem
    box = linear_program_box(model, x, slack_penalty=HARD, max_width=cap, symmetric=symmetric)
    logits = model(x)[0]
    c = int(box.target)
    slope = (model(x + torch.eye(4)) - logits)[:, c] - (model(x + torch.eye(4)) - logits)[:, 1 - c]
    margin = float(logits[c] - logits[1 - c])
    # A feature costs as it moves to one side and nothing to the other.
    wanted = knapsack(slope.tolist(), margin, cap)
    wanted = 2 * wanted if symmetric else wanted + 4 * cap
    assert float((box.below + box.above).sum()) == pytest.approx(wanted, abs=1e-6)
    if symmetric:
        assert torch.equal(box.below, box.above)


def largest_symmetric(model, x, cap, target):
    """The largest w_0 + w_1 by trying every vertex of the constraints' polygon."""
    base = model(x)[0]
    lines = [((1.0, 0.0), 0.0), ((0.0, 1.0), 0.0), ((1.0, 0.0), cap), ((0.0, 1.0), cap)]
    limits = []
    for j in range(len(base)):
        if j != target:
            slope = [
                abs(float((model(x + e) - base)[0, target] - (model(x + e) - base)[0, j]))
                for e in torch.eye(2)
            ]
            limits.append((slope, float(base[target] - base[j])))
    lines += limits
    best = 0.0
    for ((a, b), e), ((c, d), f) in itertools.combinations(lines, 2):
        determinant = a * d - b * c
        if abs(determinant) < 1e-9:
            continue
        w = [(e * d - b * f) / determinant, (a * f - e * c) / determinant]
        if all(-1e-9 <= each <= cap + 1e-9 for each in w) and all(
            p * w[0] + q * w[1] <= m + 1e-9 for (p, q), m in limits
        ):
            best = max(best, sum(w))
    return best


@given(models(2, 4))
def test_with_several_rivals_it_is_the_best_vertex(problem):
    model, x, cap = problem
    box = linear_program_box(model, x, slack_penalty=HARD, max_width=cap, symmetric=True)
    wanted = largest_symmetric(model, x, cap, int(box.target))
    assert float(box.below.sum()) == pytest.approx(wanted, abs=1e-6)


@given(models(3, 3), st.booleans())
def test_boxes_of_linear_models_are_invariant_and_cannot_grow(problem, symmetric):
    model, x, cap = problem
    box = linear_program_box(model, x, slack_penalty=HARD, max_width=cap, symmetric=symmetric)
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    points = x - box.below + corners * (box.below + box.above)
    logits = model(points)
    lead = (logits[:, box.target] - logits).min()
    assert lead >= -1e-6
    if not ((box.below >= cap - 1e-6) & (box.above >= cap - 1e-6)).all():
        rivals = torch.cat((logits[:, : box.target], logits[:, box.target + 1 :]), dim=1)
        assert (logits[:, box.target] - rivals).min() == pytest.approx(0, abs=1e-6)


@given(models(4, 3), st.sampled_from([0.0, 0.1, 1.0, 5.0]))
def test_slack_is_bought_where_it_pays(problem, price):
    model, x, cap = problem
    hard = linear_program_box(model, x, slack_penalty=HARD, max_width=cap)
    soft = linear_program_box(model, x, slack_penalty=price, max_width=cap)

    def worth(box):
        return float((box.below + box.above).sum() - price * box.slack)

    assert worth(soft) >= worth(hard) - 1e-6
    assert hard.slack.item() == 0
    if price == 0:
        assert float((soft.below + soft.above).sum()) == pytest.approx(8 * cap)


def test_slack_is_priced_against_both_sides_of_a_width():
    model = linear([[1.0], [0.0]], [0.0, 0.0])
    x = torch.full((1, 1), 0.1, dtype=torch.float64)
    for symmetric, price, width in ((True, 1.5, 1.0), (True, 2.5, 0.1), (False, 1.5, 0.1)):
        box = linear_program_box(model, x, slack_penalty=price, max_width=1.0, symmetric=symmetric)
        assert box.below.item() == pytest.approx(width)


def test_tied_features_share_their_widths_and_count_by_their_number():
    # A unit of the pair's width costs 6 of the margin 0.8 and is worth two of the single one's.
    model = linear([[4.0, 3.0, 3.0], [0.0, 0.0, 0.0]], [-0.2, 0.0])
    x = torch.full((1, 3), 0.1, dtype=torch.float64)
    how = {"slack_penalty": HARD, "max_width": 1.0, "symmetric": True}
    mask = torch.tensor([[0, 1, 1]])
    box = linear_program_box(model, x, tied=mask, **how)
    assert box.below.tolist()[0] == pytest.approx([0, 0.8 / 6, 0.8 / 6])
    capped = linear_program_box(
        model, x, tied=mask, **{**how, "max_width": torch.tensor([1.0, 0.2, 0.1])}
    )
    assert capped.below.tolist()[0] == pytest.approx([0.05, 0.1, 0.1])


@given(st.integers(0, 1000), st.sampled_from([1, 2]))
def test_rows_do_not_influence_each_other(seed, batch_size):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        x = torch.randn(3, 3).double()
    how = {"n_noisy": 3, "noise": 0.1, "seed": seed}
    together = linear_program_box(model, x, internal_batch_size=batch_size, **how)
    assert together.solved.all()
    for row in range(3):
        alone = linear_program_box(model, x[row : row + 1], **how)
        assert torch.allclose(together.below[row], alone.below[0], atol=1e-6)
        assert torch.allclose(together.above[row], alone.above[0], atol=1e-6)


def test_noisy_copies_add_constraints_and_do_nothing_to_a_linear_model():
    generator = Generator().manual_seed(0)
    weight = torch.randn(3, 6, generator=generator).double()
    x = torch.randn(2, 6, generator=generator).double()
    plain, smooth = (
        linear_program_box(lambda x: x @ weight.T, x, slack_penalty=HARD, n_noisy=n, noise=0.3)
        for n in (0, 5)
    )
    assert torch.allclose(plain.below, smooth.below, atol=1e-6)

    def curved(x):
        return torch.stack((x.square().sum(dim=1), 0.1 + 0 * x[:, 0]), dim=1)

    plain, smooth = (
        linear_program_box(curved, x, slack_penalty=HARD, max_width=5.0, n_noisy=n, noise=0.3)
        for n in (0, 5)
    )
    assert (smooth.below + smooth.above).sum() < (plain.below + plain.above).sum()


def test_only_the_strongest_rivals_are_kept_out():
    # Class 1 is near and hardly moves; class 2 is far and comes fast.
    model = linear([[0.0, 0.0], [0.1, 0.0], [0.0, 5.0]], [1.0, 0.9, 0.0])
    x = torch.zeros(1, 2, dtype=torch.float64)
    how = {"slack_penalty": HARD, "max_width": 0.5}
    both = linear_program_box(model, x, **how)
    nearest = linear_program_box(model, x, n_rivals=1, **how)
    assert both.above.tolist()[0] == pytest.approx([0.5, 0.2])
    assert nearest.above.tolist()[0] == pytest.approx([0.5, 0.5])


def test_probabilities_and_single_outputs_give_the_box_of_their_logits():
    weight = torch.tensor([[1.0, -2.0], [0.5, 1.0]], dtype=torch.float64)
    x = torch.tensor([[0.3, 0.1]], dtype=torch.float64)
    how = {"slack_penalty": HARD, "max_width": 1.0}
    logits = linear_program_box(lambda x: x @ weight.T, x, output_type="logits", **how)
    probabilities = linear_program_box(lambda x: (x @ weight.T).softmax(dim=1), x, **how)
    single = linear_program_box(
        lambda x: (x @ (weight[1] - weight[0])).sigmoid(), x, output_type="probabilities", **how
    )
    for other in (probabilities, single):
        assert torch.allclose(other.below, logits.below, atol=1e-6)
        assert torch.allclose(other.above, logits.above, atol=1e-6)


def test_a_row_of_another_class_has_no_box_without_slack():
    model = linear([[1.0], [-1.0]], [0.0, 0.0])
    x = torch.ones(1, 1, dtype=torch.float64)
    hard = linear_program_box(model, x, 1, slack_penalty=HARD)
    assert not hard.solved.item()
    assert hard.below.item() == hard.above.item() == 0
    soft = linear_program_box(model, x, 1)
    assert soft.solved.item()
    assert soft.slack.item() >= 2 - 1e-6


def test_scores_rank_narrow_features_first():
    model = linear([[4.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [0.0, 0.0])
    x = torch.full((1, 3), 0.1, dtype=torch.float64)
    scores = linear_program_box(model, x, slack_penalty=HARD, max_width=0.3).scores()
    assert (scores >= 0).all()
    assert scores[0].argsort(descending=True).tolist() == [0, 1, 2]


ONE = torch.ones(1, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slack_penalty": -1.0}, "slack_penalty must be at least 0, is -1.0"),
        ({"n_rivals": 0}, "n_rivals must be at least 1, is 0"),
        ({"n_noisy": 1.5}, "n_noisy must be a whole number, is 1.5"),
        ({"max_width": 0.0}, "max_width must be more than 0, is 0.0"),
        ({"max_width": torch.ones(3)}, r"max_width of shape \(3,\) does not fit"),
        ({"tied": torch.zeros(1, 3, dtype=torch.int64)}, "feature mask of shape"),
        ({"target": 2}, "not among the classes 0 to 1"),
    ],
)
def test_misuse_is_named(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        linear_program_box(lambda x: x, ONE, **settings)


def test_a_model_without_gradients_is_named():
    with pytest.raises(PredictorError, match="no gradient"):
        linear_program_box(lambda x: x.detach(), ONE)
