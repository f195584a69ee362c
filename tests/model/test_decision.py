from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_matrices import matrices

from xai_adapters.errors import InvalidInputError, PredictorError
from xai_adapters.model.decision import Decision

N_FEATURES = 2


@st.composite
def linear_models(draw):
    """Linear models of 1 to 4 outputs, whose classes have no equal scores at the rows."""
    n_rows, n_outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    weights, rows = draw(matrices(N_FEATURES, n_outputs)), draw(matrices(n_rows, N_FEATURES))
    offset = (1 + torch.arange(n_outputs, dtype=torch.float64)) / 8
    return lambda x: x @ weights + offset, rows


def plain_scores(outputs, output, threshold):
    """Scores of one row's outputs, a list of floats."""
    if len(outputs) == 1:
        (score,) = outputs
        if output == "logits":
            return [0.0, score - (threshold or 0.0)]
        middle = 0.5 if threshold is None else threshold
        return [0.0, math.log(score / (1 - score)) - math.log(middle / (1 - middle))]
    return [math.log(p) for p in outputs] if output == "probabilities" else outputs


@given(
    linear_models(),
    st.sampled_from(["logits", "probabilities"]),
    st.sampled_from([None, 0.25]),
    st.sampled_from([None, 1, 3]),
    st.data(),
)
def test_classes_scores_leads_and_rivals_are_those_of_the_plain_reading(
    problem, output, threshold, batch_size, data
):
    logits, rows = problem
    single = logits(rows).shape[1] == 1

    def model(x):
        if output == "logits":
            return logits(x)
        return logits(x).sigmoid() if single else logits(x).softmax(dim=1)

    wanted = [plain_scores(row, output, threshold) for row in model(rows).tolist()]
    n_classes = len(wanted[0])
    settings = {"output_type": output, "threshold": threshold, "batch_size": batch_size}
    decision = Decision(model, rows, **settings)
    assert decision.n_classes == n_classes
    assert decision.target.tolist() == [row.index(max(row)) for row in wanted]
    assert decision.has_target.all()
    target = data.draw(
        st.lists(st.integers(0, n_classes - 1), min_size=len(rows), max_size=len(rows))
    )
    decision = Decision(model, rows, torch.tensor(target), **settings)
    order = torch.tensor(data.draw(st.permutations(range(len(rows)))))
    scores = decision.scores(rows[order], order)
    shares = decision.probabilities(rows[order], order)
    leads, rivals = decision.lead(scores, order), decision.rivals(order, n_classes)
    keeps = decision.has_target_at(rows[order], order)
    for place, row in enumerate(order.tolist()):
        row_scores, c = wanted[row], target[row]
        assert scores[place].tolist() == pytest.approx(row_scores, abs=1e-9)
        total = sum(math.exp(score) for score in row_scores)
        share = [math.exp(score) / total for score in row_scores]
        assert shares[place].tolist() == pytest.approx(share, abs=1e-9)
        others = [j for j in range(n_classes) if j != c]
        ahead = row_scores[c] - max(row_scores[j] for j in others)
        assert leads[place].item() == pytest.approx(ahead, abs=1e-9)
        assert decision.has_target[row] == (ahead >= 0)
        assert keeps[place] == (ahead >= 0)
        assert decision.undecided[row] == (ahead == 0)
        ranked = sorted(others, key=lambda j: -row_scores[j])
        if len({round(row_scores[j], 9) for j in others}) == len(others):
            assert rivals[place].tolist() == ranked


def test_points_are_read_as_their_row_is():
    rows = torch.tensor([[0.25, 0.75], [3.0, -1.0]])
    decision = Decision(lambda x: x, rows)
    order = torch.tensor([1, 0, 1])
    scores = decision.scores(rows[[1, 0, 0]], order)
    assert scores[0].tolist() == [3.0, -1.0]
    assert scores[1].tolist() == pytest.approx([math.log(0.25), math.log(0.75)])
    # These logits could be probabilities.
    assert scores[2].tolist() == [0.25, 0.75]


@pytest.mark.parametrize(
    ("outputs", "keeps"),
    [([2.0, 1.0], True), ([1.0, 1.0], True), ([1.0, 2.0], False), ([2.0, -math.inf], True),
     ([math.nan, 1.0], False), ([1.0, math.nan], False), ([math.inf, 1.0], False)],
)  # fmt: skip
def test_a_point_without_a_class_keeps_none(outputs, keeps):
    decision = Decision(lambda x: x, torch.tensor([[1.0, 0.0]]), output_type="logits")
    assert decision.has_target_at(torch.tensor([outputs]), torch.tensor([0])).tolist() == [keeps]


def test_a_row_with_two_equal_scores_is_undecided_and_kept():
    decision = Decision(lambda x: x, torch.tensor([[1.0, 1.0, 0.0], [2.0, 1.0, 1.0]]))
    assert decision.has_target.tolist() == [True, True]
    assert decision.undecided.tolist() == [True, False]


def test_short_numbers_are_compared_in_32_bits():
    decision = Decision(lambda x: x.to(torch.bfloat16), torch.tensor([[256.0, 255.0]]))
    every = torch.arange(1)
    assert decision.scores(decision.x, every).dtype == torch.float32
    # In 16 bits it would round to 0.73046875.
    share = decision.probabilities(decision.x, every)[0, 0].item()
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)


def two_scores(x):
    return torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)


BROKEN_MODELS = {
    "NaN": (
        lambda x: two_scores(x / (x != 1)) * (1 - x) / (1 - x),
        "returned NaN or inf, first for row 2",
    ),
    "inf": (lambda x: two_scores(1 / (x - 1)), "returned NaN or inf, first for row 2"),
    "a list": (lambda x: [[0.0, 1.0]] * len(x), "given 4 rows and returned a list"),
    "too few rows": (lambda x: two_scores(x[1:]), r"given 4 rows and .* of shape \(3, 2\)"),
    "images": (lambda x: x[:, :, None, None], r"given 4 rows and .* of shape \(4, 1, 1, 1\)"),
    "one number": (lambda x: x.sum(), r"given 4 rows and .* of shape \(\)"),
    "labels": (lambda x: two_scores(x).argmax(dim=1), "returned torch.int64"),
}


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_models_that_do_not_answer_are_named(name):
    model, message = BROKEN_MODELS[name]
    with pytest.raises(PredictorError, match=message):
        Decision(model, torch.tensor([[3.0], [2.0], [1.0], [1.0]]))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.tensor([0, 1]), r"one for each of the 3 rows; it is torch.int64 of shape \(2,\)"),
        (torch.tensor([0.0, 1.0, 0.0]), "it is torch.float32"),
        (torch.tensor([0, 2, 1]), r"target \[0, 2, 1\] is not among the classes 0 to 1"),
        (torch.tensor(-1), r"target \[-1\] is not among the classes 0 to 1"),
    ],
)
def test_targets_that_are_no_classes_are_named(target, message):
    with pytest.raises(InvalidInputError, match=message):
        Decision(two_scores, torch.ones(3, 1), target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "internal_batch_size must be at least 1, is 0"),
        (
            {"output_type": "scores"},
            "^output_type must be one of 'auto', 'probabilities', 'logits', is 'scores'$",
        ),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        Decision(two_scores, torch.ones(3, 1), **settings)
