"""Axioms of boxes: what they let pass, what they refuse, and how explainers are called."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from offenders.box import GOOD, PROPORTIONAL
from torch import Tensor, nn

from xai_adapters.axioms import (
    AXIOMS,
    Case,
    Domain,
    Explainer,
    Network,
    check_axiom,
    explainer,
    measure,
)
from xai_adapters.axioms.answers.attributions import UnusableAnswerError
from xai_adapters.axioms.answers.boxes import boxing
from xai_adapters.axioms.definitions.box import least_share
from xai_adapters.box import InvariantBox
from xai_adapters.errors import NotApplicableError
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.semifactual.explainer import SemifactualBox

NAMES = [name for name, each in AXIOMS.items() if each.kind == "box"]
QUICK = {"n_steps": 80, "step_size": 0.1, "n_draws": 16, "n_check_draws": 1}

_UNITS = "it adds up widths, and takes its steps, in the inputs' units"
_DRAWS = "its draws differ from feature to feature"
INVARIANT_BOX = explainer(
    "invariant_box",
    lambda model: InvariantBox(output_type="probabilities", **QUICK),
    {
        # Of the share itself nothing is known: what is bounded is the expected hinge.
        "sampled_invariance": 0.05,
        "attack_inside": "it bounds the hinge that uniform draws expect; corners are seldom drawn",
        "width_within_bound": 0,
        "monotone_in_bound": 0.1,
        "irrelevant_width": 0,
        "box_scaling": _UNITS,
        "box_permutation": _DRAWS,
        "box_batch_independence": 0,
    },
    domain=Domain(max_hidden_layers=1, max_features=3, probabilities=True),
)


def certified(model: nn.Module) -> Any:
    """The box that draws from it have not seen violated."""
    black_box = ArrayBlackBox(model)

    def boxes(rows: Tensor, target: Tensor, max_width: Any = 1.0) -> Any:
        solver = SemifactualBox(max_width=max_width, confidence=1 - 1e-9, **QUICK)
        return solver.explain(rows, black_box, original_class=target)

    return boxes


_SHRUNK = "draws shrink the box as a whole"
SEMIFACTUAL_BOX = explainer(
    "semifactual_box",
    certified,
    {
        # Beside the share that it states itself.
        "sampled_invariance": 0,
        "attack_inside": "draws bound the share that is lost, and miss a corner",
        "width_within_bound": 0,
        "monotone_in_bound": _SHRUNK,
        "irrelevant_width": _SHRUNK,
        "box_scaling": _UNITS,
        "box_permutation": _DRAWS,
        "box_batch_independence": 0,
    },
    domain=INVARIANT_BOX.domain,
)


@pytest.mark.parametrize(
    ("good", "name"),
    [
        (good, name)
        for good in GOOD
        for name, claim in good.claims.items()
        if not isinstance(claim, str)
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_boxes_that_are_proved_keep_all_they_claim(good: Explainer, name: str):
    record = check_axiom(AXIOMS[name], good, max_examples=40, seed=1)
    assert record.status == "kept", record


@pytest.mark.parametrize("ours", [INVARIANT_BOX, SEMIFACTUAL_BOX], ids=repr)
@pytest.mark.parametrize("name", NAMES)
def test_ours_keep_all_they_claim(ours: Explainer, name: str):
    record = check_axiom(AXIOMS[name], ours, max_examples=6)
    expected = "not claimed" if isinstance(ours.claims[name], str) else "kept"
    assert record.status == expected, record


SLOPES = Network([[[1, -2, 3], [-1, 1, 2]]], [[-3, -3]])


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("attack_inside", Case(Network([[[-3, 1], [1, -2]]], [[2, 3]]), [[1, 0]], [0])),
        ("box_scaling", Case(SLOPES, [[2, 1, 1]], [0], feature=0, factor=4, bound=1)),
        ("box_permutation", Case(SLOPES, [[2, 1, 1]], [0], order=[2, 1, 0])),
    ],
)
def test_what_our_box_does_not_claim_it_does_not_keep(name: str, case: Case):
    assert not measure(name, replace(INVARIANT_BOX, claims={name: 0}), case).is_kept


# A wedge: class 0 above |x1|, class 1 below; at (0, 1) with half widths (w, w) the lost corners
# are two triangles of legs 2 w - 1.
WEDGE = Network(
    [[[1, 0], [-1, 0], [0, 1], [0, -1]], [[0, 0, 1, -1], [1, 1, 0, 0]]], [[0] * 4, [0, 0]]
)
AT_ONE = Case(WEDGE, [[0, 1]], [0])


def square(width: float) -> Explainer:
    return explainer("square", lambda model: lambda rows, target: width + 0 * rows, {})


@pytest.mark.parametrize("width", [0.5, 0.6, 0.75, 1.0])
def test_the_lost_share_of_a_box_is_what_geometry_says(width: float):
    share = max(0.0, (2 * width - 1) ** 2 / (2 * width) ** 2)
    found = measure("sampled_invariance", square(width), AT_ONE)
    # Not more than there is, and by 4,096 draws not much less: a chance of 1e-9 is six deviations.
    assert share - 10 * math.sqrt(share * (1 - share) / 4096) <= found.gap <= share
    assert measure("attack_inside", square(width), AT_ONE).gap == float(width > 0.5)


@pytest.mark.parametrize(("claim", "kept"), [(0.2, False), (0.26, True)])
def test_a_claimed_share_may_be_lost(claim: float, kept: bool):
    tested = replace(square(1.0), claims={"sampled_invariance": claim})
    assert measure("sampled_invariance", tested, AT_ONE).is_kept == kept
    answer = SimpleNamespace(width=torch.ones(1, 2, dtype=torch.float64), violating_mass=claim)
    tested = explainer("stated", lambda model: lambda rows, target: answer, {})
    assert measure("sampled_invariance", tested, AT_ONE).is_kept == kept


@given(st.integers(0, 60), st.integers(1, 60), st.sampled_from([0.1, 1e-3, 1e-9]))
def test_the_least_share_makes_what_was_seen_unlikely(n_seen: int, n_draws: int, delta: float):
    """The binomial tail at the bound, added up term by term, is at most delta."""
    n_seen = min(n_seen, n_draws)
    p = least_share(n_seen, n_draws, delta)
    assert 0 <= p <= n_seen / n_draws
    assert (p > 0) == (n_seen > 0)
    tail = sum(
        math.comb(n_draws, k) * p**k * (1 - p) ** (n_draws - k) for k in range(n_seen, n_draws + 1)
    )
    if n_seen:
        assert tail <= delta * (1 + 1e-6)


def test_a_tie_is_no_violation():
    """Where the hidden unit is silent both classes have 0, and the constraint f_o >= f_j holds."""
    silent = Network([[[1]], [[1], [2]]], [[0], [0, 0]])
    for name in ("sampled_invariance", "attack_inside"):
        assert measure(name, square(2.0), Case(silent, [[1]], [0])).is_kept


def test_the_attack_finds_a_thin_violation_that_draws_miss():
    """In four features a corner of a hundredth of the width has a 10^-8 of the box."""
    network = Network([[[1, 1, 1, 1], [-1, -1, -1, -1]]], [[0, 0]])
    case = Case(network, [[1, 1, 1, 1]], [0])
    assert measure("sampled_invariance", square(1.01), case).is_kept
    assert not measure("attack_inside", square(1.01), case).is_kept
    assert measure("attack_inside", square(0.999), case).is_kept


def test_corners_are_looked_at_where_there_is_no_gradient():
    """Class 1 where x1 + .. + x4 > 3.95 alone; below 3.9 nothing changes."""
    corner = Network([[[1, 1, 1, 1]], [[0], [20]]], [[-3.9], [1, 0]])
    case = Case(corner, [[0, 0, 0, 0]], [0])
    assert measure("attack_inside", square(0.98), case).is_kept
    assert not measure("attack_inside", square(1.0), case).is_kept


def test_gradients_find_what_is_neither_in_a_corner_nor_drawn():
    """Class 0 within |x1 - 0.4| + |x2 - 0.3| < 0.01: 6e-5 of the box."""
    hole = Network(
        [[[1, 0], [-1, 0], [0, 1], [0, -1]], [[-1, -1, -1, -1], [0, 0, 0, 0]]],
        [[-0.4, 0.4, -0.3, 0.3], [0.01, 0]],
    )
    case = Case(hole, [[0, 0]], [0])
    assert measure("attack_inside", square(0.3), case).is_kept
    assert not measure("attack_inside", square(0.9), case).is_kept
    assert measure("sampled_invariance", square(0.9), case).gap < 1e-3


@pytest.mark.parametrize("name", ["sampled_invariance", "box_scaling"])
@pytest.mark.parametrize(
    "answer",
    [None, torch.ones(0, 2), "nan", "inf", "negative"],
    ids=["None", "shape", "NaN", "inf", "negative"],
)
def test_an_unusable_answer_is_a_crash(name: str, answer: Any):
    numbers = {"nan": torch.nan, "inf": torch.inf, "negative": -1.0}

    def boxes(rows: Tensor, target: Tensor, max_width: Any = None) -> Any:
        return torch.full_like(rows, numbers[answer]) if answer in numbers else answer

    broken = explainer("broken", lambda model: boxes, {name: 0})
    assert check_axiom(AXIOMS[name], broken, max_examples=5).status == "crashed"


BOUNDED = {"width_within_bound", "monotone_in_bound", "irrelevant_width", "box_scaling"}


@pytest.mark.parametrize("name", NAMES)
def test_a_box_without_a_bound_is_not_asked_for_one(name: str):
    narrow = explainer("narrow", lambda model: lambda rows, target: 0 * rows, {name: 0})
    status = check_axiom(AXIOMS[name], narrow, max_examples=5).status
    assert status == ("not applicable" if name in BOUNDED else "kept")


def test_a_row_on_a_boundary_has_no_class():
    with pytest.raises(NotApplicableError, match="boundary"):
        measure("sampled_invariance", PROPORTIONAL, Case(WEDGE, [[1, 1]], [0]))


ROWS, TARGET = torch.zeros(2, 3, dtype=torch.float64), torch.tensor([0, 1])
WIDTH = torch.tensor([[1.0, 2.0, 3.0]]).expand(2, 3)


@pytest.mark.parametrize(
    ("answer", "lower"),
    [
        (WIDTH, -WIDTH),
        (WIDTH.numpy(), -WIDTH),
        (SimpleNamespace(width=WIDTH), -WIDTH),
        (SimpleNamespace(lower=-2 * WIDTH, upper=WIDTH, width=0 * WIDTH), -2 * WIDTH),
    ],
    ids=["widths", "an array", "width", "lower and upper"],
)
def test_every_box_is_understood(answer: Any, lower: Tensor):
    box = boxing(lambda rows, target: answer, nn.Identity())(ROWS, TARGET)
    assert torch.equal(box.lower, lower.double())
    assert torch.equal(box.upper, WIDTH.double())
    corners = box.points(torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64))
    assert corners.shape == (2, 1, 3)
    assert torch.equal(corners[0, 0], torch.stack((lower[0, 0], WIDTH[0, 1], lower[0, 2])).double())


def test_a_solver_is_asked_within_a_bound_and_keeps_its_own():
    solver = InvariantBox(n_steps=3, max_width=7.0)
    model = nn.Linear(3, 2).double().eval()
    boxes = boxing(solver, model)
    bound = torch.tensor([0.01, 0.02, 0.005], dtype=torch.float64)
    found = boxes(ROWS, model(ROWS).argmax(dim=1), bound)
    assert (found.width <= bound).all()
    assert (found.width > 0).any()
    assert solver.settings.max_width == 7.0


def test_what_cannot_be_called_is_said():
    with pytest.raises(UnusableAnswerError, match="make returned a int"):
        boxing(3, nn.Identity())
