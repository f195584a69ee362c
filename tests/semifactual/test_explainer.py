"""Boxes in which any predictor keeps its class, their guarantee, and counterfactuals outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import Generator, nn

from xai_adapters import Categorical, Continuous, FeatureSchema
from xai_adapters.errors import FitWarning, InvalidInputError, NotFittedError, UnknownOptionError
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.semifactual import SemifactualBox

QUICK_BOX = {"n_steps": 60, "step_size": 0.05, "n_draws": 16, "n_bound_draws": 64}
QUICK_SURROGATE = {
    "surrogate_widths": (24,),
    "perturber_widths": (24,),
    "dropout": 0.0,
    "learning_rate": 1e-2,
    "epochs": 4,
    "batch_size": 32,
    "query_budget": 0,
}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def linear(weights: list[float], bias: float = 0.0) -> nn.Linear:
    """Two classes, class 1 where weights @ x + bias > 0."""
    model = nn.Linear(len(weights), 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * len(weights), weights]))
        model.bias.copy_(torch.tensor([0.0, bias]))
    return model


def first_is_positive(X: np.ndarray) -> np.ndarray:
    return X[:, 0] > 0


# The box.


def test_of_a_linear_module_the_box_ends_at_the_boundary():
    model, rows = linear([1.0, 0.0]), torch.tensor([[1.0, 0.0], [-0.5, 3.0]])
    found = SemifactualBox().explain(rows, ArrayBlackBox(model))
    # 0.02 of mass is allowed to lie beyond the boundary at 0.
    torch.testing.assert_close(found.lower[:, 0], torch.tensor([0.0, -1.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(found.upper[:, 0], torch.tensor([2.0, 0.0]), atol=0.1, rtol=0)
    assert (found.upper - found.lower)[:, 1].tolist() == pytest.approx([4.0, 4.0], rel=0.1)
    assert (found.counterfactual[:, 0] > 0).tolist() == [False, True]
    assert found.counterfactual[:, 1].tolist() == [0.0, 3.0]
    # The shortest step was halved six times, from at most 2 units.
    assert found.counterfactual[:, 0].abs().max() < 2 / 2**5


def test_any_other_predictor_is_boxed_by_its_surrogate():
    X = normal(400, 2)
    box = ArrayBlackBox(first_is_positive)
    found = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE).fit(X, box).explain(X[:20], box)
    inside = X[:20, 0] > 0
    share = torch.linspace(0.05, 0.95, 19)[:, None, None]
    points = found.lower + share * (found.upper - found.lower)
    assert ((points[..., 0] > 0) == inside).double().mean() > 0.98
    assert ((found.counterfactual[:, 0] > 0) != inside).all()
    # Feature 1 is irrelevant: wide, and nobody moves it on the way out.
    assert found.width[:, 1].mean() > 3 * found.width[:, 0].mean()
    assert torch.equal(found.counterfactual[:, 1], X[:20, 1])


@pytest.mark.parametrize("kind", ["module", "surrogate"])
def test_widths_follow_the_units_of_the_features(kind):
    units = torch.tensor([100.0, 0.01])
    X = normal(400, 2)
    found = []
    for unit in (torch.ones(2), units):
        model = linear([1.0 / float(unit[0]), 0.5 / float(unit[1])])
        black_box = ArrayBlackBox(
            model
            if kind == "module"
            else lambda X, model=model: model(torch.from_numpy(X)).detach()
        )
        box = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE).fit(X * unit, black_box)
        found.append(box.explain(X[:10] * unit, black_box))
    for name in ("lower", "upper", "counterfactual"):
        torch.testing.assert_close(
            getattr(found[1], name) / units, getattr(found[0], name), atol=0.02, rtol=0
        )


def test_the_narrowest_feature_moves_first():
    # Each of the last two features would do alone; the last is the narrower.
    rows = torch.tensor([[0.1, 0.4, 0.4], [-0.2, -0.4, -0.4]])
    found = SemifactualBox().explain(rows, ArrayBlackBox(linear([0.1, 1.0, 4.0])))
    assert (found.width.argmin(dim=1) == 2).all()
    assert (found.counterfactual != rows).tolist() == [[False, False, True]] * 2


def test_every_round_of_the_bound_has_draws_of_its_own():
    asked = []

    def far_from_half(X):
        asked.append(X)
        return np.abs(X[:, 0] - 0.5) > 1e-3

    box = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE, n_rounds=4)
    black_box = ArrayBlackBox(far_from_half)
    box.fit(torch.cat((normal(200, 1), torch.full((40, 1), 0.5))), black_box)
    asked.clear()
    row = torch.tensor([[0.5]])
    found = box.explain(row, black_box, original_class=torch.tensor([0]))
    # Where in its box each draw lies, round by round: halved boxes, and no draw twice.
    side = float(found.width * box._unit)
    shares = [(X[:, 0] - 0.5) * 2**number / side for number, X in enumerate(asked[:4])]
    assert all(len(X) == 32 for X in asked[:4])
    assert len(np.unique(np.concatenate(shares).round(6))) == 4 * 32
    # Nor any that the box was fitted to, which would be no evidence for it.
    fitted_to = np.concatenate(
        [
            torch.empty(2000).uniform_(-1, 1, generator=Generator().manual_seed(stream)).numpy()
            for stream in (0, 1)
        ]
    )
    assert np.median(np.abs(fitted_to[:, None] - shares[0]).min(axis=0)) > 1e-6


def test_a_surrogate_that_errs_does_not_make_the_box_unsafe():
    X = normal(400, 2)
    narrower = ArrayBlackBox(lambda X: np.abs(X[:, 0]) < 0.2)
    fitted = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE)
    fitted.fit(X, ArrayBlackBox(lambda X: np.abs(X[:, 0]) < 1))
    rows = torch.tensor([[0.0, 0.0], [0.1, 0.5]])
    found = fitted.explain(rows, narrower)
    assert found.width[:, 0].min() > 0.5
    assert (found.upper[:, 0] < 0.25).all()
    assert (found.lower[:, 0] > -0.25).all()
    assert (found.upper > rows).all()


@given(schema=schemas(), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_boxes_keep_to_the_schema_and_hold_their_row(schema, seed):
    rows = rows_of(schema, 4, seed, torch.float64)
    weights = normal(schema.n_columns, seed=seed).tolist()
    box = SemifactualBox(schema=schema, **{**QUICK_BOX, "n_steps": 5, "n_draws": 8})
    found = box.explain(rows, ArrayBlackBox(linear(weights)))
    assert (found.lower <= rows).all()
    assert (rows <= found.upper).all()
    own = schema.encode(rows)
    for corner in (found.lower, found.upper):
        schema.check(corner)
        encoded = schema.encode(corner)
        torch.testing.assert_close(schema.settle(own, encoded), encoded)
        # Categories are held.
        assert torch.equal(encoded[:, len(schema.continuous) :], own[:, len(schema.continuous) :])
    torch.testing.assert_close(
        schema.settle(own, schema.encode(found.counterfactual)), schema.encode(found.counterfactual)
    )


def test_what_may_not_move_neither_widens_nor_narrows_the_box():
    schema = FeatureSchema(
        [
            Continuous("fixed", 0, mutable=False),
            Continuous("free", 1),
            Continuous("whole", 2, integer=True, direction="up"),
        ]
    )
    # Were it to move, the fixed feature alone would flip every row at once.
    box = SemifactualBox(schema=schema, **{**QUICK_BOX, "n_steps": 200}, max_width=2.5)
    rows = torch.tensor([[0.3, 1.0, 2.0], [0.3, 1.0, 2.5]])
    found = box.explain(rows, ArrayBlackBox(linear([100.0, 1.0, 0.0], bias=-30.0)))
    assert torch.equal(found.lower[:, 0], rows[:, 0])
    assert torch.equal(found.upper[:, 0], rows[:, 0])
    assert (found.width[:, 0] == 2.5).all()
    assert found.lower[0, 1] < 0.3
    assert found.lower[:, 2].tolist() == [2.0, 2.5]
    assert torch.equal(found.upper[:, 2].round(), found.upper[:, 2])
    assert (found.upper[:, 2] >= 3).all()
    assert torch.equal(found.counterfactual[:, 0], rows[:, 0])
    assert (found.counterfactual[:, 1] < 0).all()


def test_categories_change_where_no_number_helps():
    schema = FeatureSchema(
        [Continuous("x", 0), Categorical("job", ("a", "b", "c"), columns=(1, 2, 3))]
    )
    model = linear([0.0, 1.0, 0.5, -1.0])
    rows = torch.tensor([[0.2, 1.0, 0.0, 0.0], [0.2, 0.0, 0.0, 1.0]])
    found = SemifactualBox(schema=schema, **QUICK_BOX).explain(rows, ArrayBlackBox(model))
    # From class 1 to 0 by the category that speaks most against it, and back; x stays.
    assert found.counterfactual.tolist() == [
        pytest.approx([0.2, 0.0, 0.0, 1.0]),
        pytest.approx([0.2, 1.0, 0.0, 0.0]),
    ]


def test_a_target_is_reached_and_a_row_there_already_stays():
    model = nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 1.0], [0.87, -0.5], [-0.87, -0.5]]))
        model.bias.zero_()
    rows = normal(30, 2)
    target = torch.arange(30) % 3
    black_box = ArrayBlackBox(model)
    found = SemifactualBox(**QUICK_BOX).explain(rows, black_box, target=target)
    there = black_box.labels(rows) == target
    assert torch.equal(black_box.labels(found.counterfactual), target)
    assert torch.equal(found.counterfactual[there], rows[there])
    assert (found.counterfactual != rows)[~there].any(dim=1).all()


@pytest.mark.parametrize("kind", ["module", "surrogate"])
def test_a_row_alone_is_explained_as_in_a_batch(kind):
    X = normal(300, 3)
    black_box = ArrayBlackBox(
        linear([1.0, -0.5, 0.0]) if kind == "module" else lambda X: X[:, 0] > 0.5 * X[:, 1]
    )
    box = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE).fit(X, black_box)
    together = box.explain(X[:6], black_box)
    for row in range(6):
        alone = box.explain(X[row : row + 1], black_box)
        for name in ("lower", "upper", "counterfactual"):
            torch.testing.assert_close(getattr(alone, name)[0], getattr(together, name)[row])


def test_every_row_that_is_asked_about_is_counted():
    seen = 0

    class Counting(nn.Linear):
        def forward(self, x):
            nonlocal seen
            seen += len(x)
            return super().forward(x)

    model = Counting(3, 2)
    for box in (ArrayBlackBox(model), ArrayBlackBox(lambda X: model(torch.from_numpy(X)).detach())):
        seen = 0
        fitted = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE).fit(normal(100, 3), box)
        fitted.explain(normal(4, 3), box)
        assert box.n_queries == seen > 0


def test_module_gradients_and_random_state_are_left_as_found():
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    model.train()
    model[0].bias.grad = torch.ones(4)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    SemifactualBox(**QUICK_BOX).explain(normal(3, 2), ArrayBlackBox(model))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert torch.equal(model[0].bias.grad, torch.ones(4))
    assert model[0].weight.grad is None
    assert torch.equal(state, torch.random.get_rng_state())


# What goes wrong.


class Steps(nn.Module):
    """A module without a gradient."""

    def forward(self, x):
        return torch.stack(((x[:, 0] <= 0).float(), (x[:, 0] > 0).float()), dim=1)


@pytest.mark.parametrize("predictor", [first_is_positive, Steps()], ids=["function", "module"])
def test_without_a_gradient_fit_comes_first(predictor):
    box, black_box = SemifactualBox(surrogate=QUICK_SURROGATE), ArrayBlackBox(predictor)
    with pytest.raises(NotFittedError, match=r"fit\(X\)"):
        box.explain(normal(2, 2), black_box)
    with pytest.raises(NotFittedError, match=r"fit\(X\)"):
        box.solve(normal(2, 2), black_box)
    assert (box.fit(normal(200, 2), black_box).solve(normal(2, 2), black_box).width > 0).any()


def test_a_constant_black_box_fills_its_box_and_has_no_counterfactual():
    black_box = ArrayBlackBox(lambda X: np.zeros(len(X), dtype=int))
    box = SemifactualBox(**QUICK_BOX)
    with pytest.warns(FitWarning, match="two classes"):
        box.fit(normal(100, 2), black_box)
    rows = normal(3, 2)
    found = box.explain(rows, black_box)
    assert torch.equal(found.counterfactual, rows)
    assert (found.width == 2).all()
    rows.zero_()
    assert not torch.equal(found.counterfactual, rows)


@pytest.mark.parametrize(
    "setting",
    [
        {"n_bound_draws": 0},
        {"n_rounds": 0},
        {"confidence": 1.0},
        {"scale": "row"},
        {"n_steps": 0},
        {"max_width": "wide"},
        {"n_rounds": 2.5},
        {"sampling": "fade_to_colour"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_named(setting):
    with pytest.raises(InvalidInputError, match=next(iter(setting))):
        SemifactualBox(**setting)


@pytest.mark.parametrize("name", ["shape", "bounds", "output_type", "penaltie"])
def test_options_that_a_box_of_a_table_does_not_have_are_named(name):
    with pytest.raises(UnknownOptionError, match=f"SemifactualBox has no option '{name}'"):
        SemifactualBox(**{name: "asymmetric"})


def test_its_repr_shows_what_was_set():
    box = SemifactualBox(max_width=[1.0, 3.0], n_steps=60, surrogate={"epochs": 3}, seed=0)
    assert repr(box) == (
        "SemifactualBox(max_width=[1.0, 3.0], surrogate={'epochs': 3}, n_steps=60)"
    )


def test_settings_of_the_surrogate_are_checked_at_once():
    with pytest.raises(InvalidInputError, match="epochs"):
        SemifactualBox(surrogate={"epochs": 0})


def test_a_class_that_fit_did_not_see_is_named():
    box, X = SemifactualBox(**QUICK_BOX, surrogate=QUICK_SURROGATE), normal(200, 2)
    three = ArrayBlackBox(lambda X: np.digitize(X[:, 0], [0.0, 4.0]))
    box.fit(X, three)
    with pytest.raises(InvalidInputError, match="row 1 has class 2"):
        box.explain(torch.tensor([[0.0, 0.0], [5.0, 0.0]]), three)


# Saving.


@pytest.mark.parametrize("is_fitted", [True, False])
def test_a_loaded_box_explains_as_the_saved_one_did(is_fitted, tmp_path):
    X, black_box = normal(200, 2), ArrayBlackBox(first_is_positive)
    box = SemifactualBox(
        schema=FeatureSchema.all_continuous(2, lower=-5),
        **QUICK_BOX,
        surrogate=QUICK_SURROGATE,
        max_width=[1.0, 2.0],
    )
    if is_fitted:
        box.fit(X, black_box)
    else:
        black_box = ArrayBlackBox(linear([1.0, 0.0]))
    box.save(tmp_path / "box")
    one, other = (b.explain(X[:5], black_box) for b in (box, SemifactualBox.load(tmp_path / "box")))
    for name in ("lower", "upper", "counterfactual"):
        assert torch.equal(getattr(one, name), getattr(other, name))
