from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_matrices import matrices
from torch import nn

from xai_adapters.errors import InvalidInputError, PredictorError
from xai_adapters.guarantees import attack_box


@st.composite
def boxes(draw, n_features: int):
    """Rows with a box around each."""
    n_rows = draw(st.integers(1, 4))
    x = draw(matrices(n_rows, n_features))
    below, above = draw(matrices(n_rows, n_features)), draw(matrices(n_rows, n_features))
    return x, x - below.abs() / 4, x + above.abs() / 4


@given(boxes(2), st.data())
def test_on_linear_models_the_attack_finds_the_worst_margin(box, data):
    x, lower, upper = box
    n_classes = data.draw(st.integers(2, 4))
    weight, bias = data.draw(matrices(n_classes, 2)), data.draw(matrices(1, n_classes))

    def model(points):
        return points @ weight.T + bias

    # Several rivals, and a start for each of them.
    found = attack_box(
        model, x, lower, upper, output_type="logits", n_restarts=n_classes - 1, n_steps=2
    )
    target = model(x).argmax(dim=1)
    for row, c in enumerate(target.tolist()):
        margins = [
            float(model(x[row])[0, c] - model(x[row])[0, j])
            - sum(
                max(
                    float((weight[j, i] - weight[c, i]) * (end[row, i] - x[row, i]))
                    for end in (lower, upper)
                )
                for i in range(2)
            )
            for j in range(n_classes)
            if j != c
        ]
        worst = min(margins)
        assert found.violated[row].item() == (worst < 0)
        if worst >= 0:
            assert found.margin[row].item() == pytest.approx(worst)


@settings(max_examples=10)
@given(boxes(3), st.integers(0, 5), st.sampled_from([None, 1, 2, 3]))
def test_points_lie_in_their_boxes_and_show_what_is_said(box, seed, batch_size):
    x, lower, upper = box
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    found = attack_box(model, x, lower, upper, internal_batch_size=batch_size, n_restarts=3)
    assert ((lower <= found.point) & (found.point <= upper)).all()
    assert torch.equal(found.target, model(x).argmax(dim=1))
    logits = model(found.point).detach()
    own = logits.gather(1, found.target[:, None])[:, 0]
    rival = logits.scatter(1, found.target[:, None], -torch.inf).amax(dim=1)
    assert torch.allclose(found.margin, own - rival)
    assert torch.equal(found.violated, logits.argmax(dim=1) != found.target)
    # Row by row the same is found.
    for row in range(len(x)):
        alone = attack_box(
            model, x[row : row + 1], lower[row : row + 1], upper[row : row + 1], n_restarts=3
        )
        assert torch.allclose(alone.point[0], found.point[row])


def test_a_pocket_that_only_a_corner_start_sees_is_found():
    # Flat but for a bump in one corner, where class 1 wins.
    def model(points):
        inside = (points - 1).abs().amax(dim=1, keepdim=True)
        return torch.cat((0.1 + 0 * inside, (1 - 4 * inside).clamp(min=0)), dim=1)

    x = torch.zeros(1, 2)
    assert attack_box(model, x, x - 1, x + 1, n_restarts=20).violated.item()
    assert not attack_box(model, x, x - 1, x + 1, n_restarts=1).violated.item()


@pytest.mark.parametrize(
    ("model", "output", "threshold", "reach", "violated"),
    [
        (lambda x: x.sum(dim=1), "logits", None, 1.1, True),
        (lambda x: x.sum(dim=1), "logits", None, 0.9, False),
        (lambda x: x.sum(dim=1), "logits", 1.5, 0.3, True),
        (lambda x: x.sum(dim=1), "logits", 1.5, 0.2, False),
        (lambda x: x.sum(dim=1, keepdim=True).sigmoid(), "auto", None, 1.1, True),
        (lambda x: x.sum(dim=1, keepdim=True).sigmoid(), "auto", 0.85, 0.2, True),
        (lambda x: x.sum(dim=1, keepdim=True).sigmoid(), "auto", 0.85, 0.1, False),
        # Saturated in float32: no other probability is told from 0 there.
        (lambda x: (200 * (x @ torch.tensor([[1.0, -1], [1, -1]]))).softmax(1), "auto", None, 1.1,
         True),
    ],
)  # fmt: skip
def test_single_outputs_and_probabilities_are_read_with_their_threshold(
    model, output, threshold, reach, violated
):
    x = torch.ones(1, 2)
    found = attack_box(model, x, x - reach, x + reach, output_type=output, threshold=threshold)
    assert found.violated.item() is violated


def test_outputs_that_are_not_numbers_do_not_keep_the_class():
    def model(points):
        return torch.stack((points[:, 0], (0.5 - points[:, 0]).clamp(max=0).sqrt()), dim=1)

    x = torch.full((1, 1), 0.5)
    assert attack_box(model, x, x - 0.2, x + 0.2).violated.item()


def test_the_model_and_the_random_state_are_left_as_found():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    x = torch.zeros(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.no_grad():
        attack_box(model, x, x - 1, x + 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert not x.requires_grad


ONE = torch.ones(2, 2)
MISUSE = {
    "a box beside its row": ((ONE, ONE, ONE + 1), {}, None),
    "a row outside": ((ONE, torch.stack((ONE[0], ONE[1] + 1)), ONE + 2), {}, "that of row 1"),
    "another shape": ((ONE, ONE[:1], ONE), {}, r"lower must be torch.float32 of shape \(2, 2\)"),
    "another type": ((ONE, ONE, ONE.double()), {}, "upper must be .* is torch.float64"),
    "no such class": ((ONE, ONE, ONE, 2), {}, "not among the classes 0 to 1"),
    "no restarts": ((ONE, ONE, ONE), {"n_restarts": 0}, "n_restarts must be at least 1, is 0"),
    "integers": ((ONE.long(),) * 3, {}, "must be floating point"),
    "batches of none": ((ONE, ONE, ONE), {"internal_batch_size": 0}, "internal_batch_size"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_named(name):
    arguments, settings, message = MISUSE[name]
    if message is None:
        attack_box(lambda x: x, *arguments, **settings)
        return
    with pytest.raises(InvalidInputError, match=message):
        attack_box(lambda x: x, *arguments, **settings)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: x.detach(), "no gradient"),
        (lambda x: x * torch.nan, "NaN or inf, first for row 0"),
        (lambda x: x[1:], "given 2 rows"),
        (lambda x: x.long(), "returned torch.int64"),
        (lambda x: [0] * len(x), "returned a list"),
    ],
)
def test_models_that_cannot_be_attacked_are_named(model, message):
    with pytest.raises(PredictorError, match=message):
        attack_box(model, ONE, ONE, ONE)


def test_a_result_keeps_its_target_when_the_caller_changes_its_own():
    rows, target = torch.zeros(2, 1), torch.tensor([0, 1])
    found = attack_box(lambda x: torch.cat((-x, x), 1), rows, rows - 1, rows + 1, target)
    target.fill_(0)
    assert found.target.tolist() == [0, 1]
