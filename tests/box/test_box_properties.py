"""What holds for boxes of every shape, however they are drawn from."""

from __future__ import annotations

import itertools
from dataclasses import fields
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_matrices import matrices
from torch import Generator

from xai_adapters import Box, InvariantBox
from xai_adapters.errors import BoxWarning, InvalidInputError

N_FEATURES = 3
QUICK = {"n_steps": 12, "n_draws": 8, "step_size": 0.2, "n_check_draws": 16, "penalty": 10.0}
CASES = {
    "symmetric": {},
    "clipped": {"bounds": (-1.0, 1.5)},
    "asymmetric": {"shape": "asymmetric"},
    "directed": {"shape": "directed"},
    "masked": {"shape": "masked"},
    "uniform": {"sampling": "uniform"},
    "adversarial": {"sampling": "adversarial", "hinge_on": "logits", "penalty": 0.3},
    "adversarial, probabilities": {"sampling": "adversarial", "penalty": 1.0},
    "fade_to_colour": {"sampling": "fade_to_colour", "bounds": (-1.0, 1.5)},
    "directed, masked fraction": {
        "shape": "directed",
        "sampling": "masked_fraction",
        "bounds": (-3, 3),
    },
}
every_case = pytest.mark.parametrize("case", CASES)


def network(first, second):
    # With these no two classes have the same output at a row of whole numbers.
    offset = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    return lambda x: (x @ first).clamp(min=0) @ second + offset


MODELS = st.builds(network, matrices(N_FEATURES, 4), matrices(4, 3))
ROWS = st.integers(2, 4).flatmap(lambda n: matrices(n, N_FEATURES))


def solved(case, model, rows, target=None, **more):
    chosen = {**QUICK, "output_type": "logits", **CASES[case], **more}
    baseline = chosen.pop("baseline", 0.5)
    if chosen.get("shape") not in ("directed", "masked"):
        baseline = None
    return InvariantBox(**chosen).solve(model, rows, target, baseline=baseline)


def same(one: Box, other: Box, rows=slice(None), tolerance: float = 1e-9) -> None:
    for field in fields(Box):
        torch.testing.assert_close(
            getattr(one, field.name),
            getattr(other, field.name)[rows],
            rtol=tolerance,
            atol=tolerance,
            equal_nan=True,
        )


@every_case
@settings(max_examples=4)
@given(model=MODELS, rows=ROWS)
def test_ends_hold_the_row_and_widths_keep_to_their_bound(case, model, rows):
    box = solved(case, model, rows, max_width=0.75)
    assert ((box.width >= 0) & (box.width <= 0.75)).all()
    assert ((box.lower <= rows) & (rows <= box.upper)).all()
    for field in fields(Box):
        assert field.name == "history" or getattr(box, field.name).isfinite().all()
    taken = torch.arange(box.history.shape[1]) < box.n_steps[:, None]
    assert torch.equal(box.history.isfinite(), taken)


@every_case
@settings(max_examples=3)
@given(model=MODELS, rows=ROWS, random=st.randoms(use_true_random=False))
def test_rows_are_independent_of_their_batch(case, model, rows, random):
    order = random.sample(range(len(rows)), random.randint(1, len(rows)))
    stopping = {"tolerance": 0.02, "patience": 5}
    every = solved(case, model, rows, **stopping)
    same(solved(case, model, rows[order], **stopping), every, order)


@every_case
@pytest.mark.parametrize("internal_batch_size", [1, 3, 8, 12])
def test_the_internal_batch_size_changes_nothing(case, internal_batch_size):
    generator = Generator().manual_seed(3)
    first = torch.randn(N_FEATURES, 4, generator=generator, dtype=torch.float64)
    second = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    rows = torch.randn(3, N_FEATURES, generator=generator, dtype=torch.float64)
    sizes = []

    def model(x):
        sizes.append(len(x))
        return network(first, second)(x)

    whole = solved(case, model, rows, n_steps=10)
    sizes.clear()
    same(solved(case, model, rows, n_steps=10, internal_batch_size=internal_batch_size), whole)
    assert max(sizes) <= internal_batch_size


@every_case
@settings(max_examples=3)
@given(model=MODELS, rows=ROWS, ignored=st.integers(0, N_FEATURES - 1))
def test_a_feature_the_model_ignores_is_as_wide_as_allowed(case, model, rows, ignored):
    blind = torch.ones(N_FEATURES, dtype=torch.float64)
    blind[ignored] = 0
    bound = torch.tensor([0.5, 1.0, 0.75], dtype=torch.float64)
    box = solved(case, lambda x: model(x * blind), rows, max_width=bound, optimizer="sgd",
                 step_size=0.3)  # fmt: skip
    assert torch.equal(box.width[:, ignored], bound[ignored].expand(len(rows)))


@every_case
@settings(max_examples=3)
@given(model=MODELS, rows=ROWS, power=st.integers(-3, 3))
def test_in_another_unit_the_box_is_the_same(case, model, rows, power):
    """All features in a unit of 2^power; their objective, and so the penalty, is in it too."""
    unit = 2.0**power
    shares = CASES[case].get("shape") in ("directed", "masked")
    per_width = 1.0 if shares else unit
    found = solved(
        case,
        lambda x: model(x * unit),
        rows / unit,
        max_width=1 / per_width,
        step_size=QUICK["step_size"] / per_width,
        penalty={**QUICK, **CASES[case]}["penalty"] / per_width,
        tolerance=0,
        baseline=0.5 / unit,
        bounds=tuple(end / unit for end in CASES[case]["bounds"])
        if "bounds" in CASES[case]
        else None,
    )
    wanted = solved(case, model, rows, tolerance=0)
    assert torch.equal(found.lower * unit, wanted.lower)
    assert torch.equal(found.upper * unit, wanted.upper)


@pytest.mark.parametrize("case", ["directed", "masked", "directed, masked fraction"])
@settings(max_examples=4)
@given(model=MODELS, rows=ROWS, powers=st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_a_directed_box_does_not_depend_on_any_features_unit(case, model, rows, powers):
    unit = 2.0 ** torch.tensor(powers, dtype=torch.float64)
    baseline = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    wanted = solved(case, model, rows, baseline=baseline, bounds=None)
    scaled = solved(
        case, lambda x: model(x * unit), rows / unit, baseline=baseline / unit, bounds=None
    )
    assert torch.equal(scaled.width, wanted.width)
    assert torch.equal(scaled.lower * unit, wanted.lower)


@pytest.mark.parametrize("case", ["symmetric", "clipped", "asymmetric", "directed", "uniform"])
def test_a_violation_rate_is_confirmed_by_fresh_draws(case):
    generator = Generator().manual_seed(5)
    first = torch.randn(N_FEATURES, 4, generator=generator, dtype=torch.float64)
    second = 2 * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    model, rows = network(first, second), torch.randn(
        5, N_FEATURES, generator=generator, dtype=torch.float64
    )  # fmt: skip
    box = solved(case, model, rows, penalty=0.5, n_check_draws=4000)
    u = torch.rand(4000, N_FEATURES, generator=Generator().manual_seed(99), dtype=torch.float64)
    rates = []
    for lower, upper, c in zip(box.lower, box.upper, box.target, strict=True):
        found = model(lower + u * (upper - lower)).argmax(dim=1)
        rates.append((found != c).double().mean().item())
    assert max(rates) > 0.02
    # Five standard deviations of a difference of two shares of 4,000 draws.
    assert box.violation_rate.tolist() == pytest.approx(rates, abs=5 * (0.5 / 4000) ** 0.5)


# Linear models, where the problem is a linear program.


def linear_case(seed, n_classes):
    generator = Generator().manual_seed(seed)
    weights = torch.randint(-3, 4, (5, n_classes), generator=generator).double()
    offset = torch.randint(-3, 4, (n_classes,), generator=generator).double()
    offset += torch.arange(n_classes) / (2 * n_classes)
    rows = torch.randint(-3, 4, (6, 5), generator=generator).double() / 2
    return weights, offset, rows


def linear_program(weights, offset, row, bound):
    """max mean w with every corner of the box in the row's class, by scipy's HiGHS."""
    linprog = pytest.importorskip("scipy.optimize").linprog
    z = row @ weights + offset
    c = int(z.argmax())
    others = [j for j in range(len(z)) if j != c]
    found = linprog(
        [-1 / len(row)] * len(row),
        A_ub=[(weights[:, j] - weights[:, c]).abs().tolist() for j in others],
        b_ub=[float(z[c] - z[j]) for j in others],
        bounds=(0, bound),
    )
    return -found.fun


@pytest.mark.parametrize(("seed", "n_classes"), [(0, 2), (1, 3), (2, 4), (3, 6)])
def test_with_adversarial_draws_a_linear_models_box_is_the_linear_programs(seed, n_classes):
    weights, offset, rows = linear_case(seed, n_classes)
    box = InvariantBox(
        sampling="adversarial",
        hinge_on="logits",
        output_type="logits",
        penalty=0.5,
        optimizer=partial(torch.optim.Adam, betas=(0.9, 0.99)),
        n_steps=1200,
        n_draws=n_classes - 1,
        tolerance=0,
    ).solve(lambda x: x @ weights + offset, rows)
    optimum = [linear_program(weights, offset, row, 1.0) for row in rows]
    ratio = box.width.mean(dim=1) / torch.tensor(optimum, dtype=torch.float64)
    assert ratio.min() >= 0.99
    assert ratio.max() <= 1.01


@pytest.mark.parametrize("case", ["symmetric", "adversarial", "asymmetric", "clipped"])
def test_a_wider_bound_never_shrinks_the_objective(case):
    weights, offset, rows = linear_case(4, 3)
    found = [
        solved(
            case,
            lambda x: x @ weights + offset,
            rows,
            max_width=bound,
            n_steps=300,
            n_draws=64,
            step_size=0.03,
            n_check_draws=2000,
            tolerance=0,
        ).objective
        for bound in (0.25, 0.5, 1.0, 2.0)
    ]
    for narrow, wide in itertools.pairwise(found):
        # What the search leaves undone.
        assert (wide - narrow > -0.01).all()
    assert (found[-1] > found[0] + 0.1).any()


# What somebody should know of.


def two_classes(x):
    return torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)


@every_case
def test_a_target_that_is_not_the_class_is_warned_of(case):
    rows = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [1.0, 0.0, 0.0]])
    with pytest.warns(BoxWarning, match=r"target is not the class of 2 of 3 rows \(0, 2\)"):
        box = solved(case, two_classes, rows, torch.tensor(1))
    assert not box.width[[0, 2]].any()
    assert torch.equal(box.lower[[0, 2]], rows[[0, 2]])
    assert torch.equal(box.upper[[0, 2]], rows[[0, 2]])
    assert box.violation_rate[[0, 2]].tolist() == [1, 1]
    assert box.width[1].any()


@every_case
def test_a_row_on_the_boundary_is_warned_of(case):
    rows = torch.tensor([[0.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    with pytest.warns(BoxWarning, match=r"undecided at 1 of 2 rows \(0\)"):
        box = solved(case, two_classes, rows)
    assert box.width.isfinite().all()
    assert box.objective.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": "round"}, "shape must be one of 'symmetric', .*, is 'round'"),
        ({"sampling": "normal"}, "sampling must be one of 'uniform', .*, is 'normal'"),
        ({"hinge_on": "odds"}, "hinge_on must be one of 'probabilities', 'logits', is 'odds'"),
        (
            {"schedule": "step"},
            "schedule must be one of 'constant', 'sqrt', 'linear', 'cosine', or a callable; is 's",
        ),
        (
            {"shape": "directed", "max_width": 2.0},
            "max_width must be at most 1 for the shape 'directed'.*is 2.0",
        ),
        (
            {"shape": "masked", "sampling": "adversarial"},
            "sampling='adversarial' needs shape='symmetric' or 'asymmetric' or 'directed', is "
            "given 'masked'",
        ),
        ({"shape": "masked", "sampling": "masked_fraction"}, "is given 'masked'"),
        ({"sampling": "fade_to_colour"}, "needs the data's range: give bounds"),
        (
            {"sampling": "fade_to_colour", "bounds": (0, 1), "shape": "directed"},
            "needs shape='symmetric', is given 'directed'",
        ),
        ({"bounds": 1}, "bounds must be a lower and an upper value or None, is 1"),
        ({"bounds": (0, 1, 2)}, "bounds must be a lower and an upper value or None, is"),
    ],
)
def test_settings_that_mean_nothing_are_named(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        InvariantBox(**settings)
