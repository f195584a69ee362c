from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas

from xai_adapters import BlackBox, MinimalPerturbation
from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema

# Fits too short to be good: what is tested here holds however bad the networks are.
pytestmark = pytest.mark.filterwarnings("ignore::xai_adapters.errors.FitWarning")
SEEDS = st.integers(0, 2**31)
QUICK = {
    "surrogate_widths": (8,),
    "perturber_widths": (8,),
    "dropout": 0.0,
    "epochs": 1,
    "learning_rate": 0.03,
    "query_budget": 15,
    "query_rounds": 1,
}
N_FITTED, N_ROWS = 40, 12
MODES = {
    "as fitted": {},
    "checked": {"line_search": True},
    "all": {"line_search": True, "sparsify": True, "local_search": 5},
}


def stray_rows(schema, seed):
    """Rows that fit the schema, but for every second one's numbers."""
    rows = rows_of(schema, N_ROWS, seed)
    random = np.random.default_rng(seed + 1)
    for feature in schema.continuous:
        offsets = torch.from_numpy(random.integers(-20, 21, N_ROWS // 2) / 4)
        rows[::2, feature.column] += offsets.to(rows.dtype)
        # Equal to zero, and another number of bits.
        rows[1, feature.column] = -0.0
    return rows


def halves(schema, seed, n_classes=2):
    """Rows and a black box that numbers them by where they lie along a random direction."""
    rows = rows_of(schema, N_FITTED, seed)
    weights = np.random.default_rng(seed + 2).normal(size=schema.n_columns)
    scores = rows.numpy() @ weights
    assume(scores.max() > scores.min())
    limits = np.linspace(scores.min(), scores.max(), n_classes + 1)[1:-1]
    return rows, lambda X: np.digitize(X @ weights, limits)


def a_fit(schema, rows, black_box, seed=0, **more):
    explainer = MinimalPerturbation(schema=schema, seed=seed % 1000, **{**QUICK, **more})
    explainer.fit(rows, black_box)
    with torch.no_grad():
        # Perturbations so long that every limit is felt.
        explainer._fitted.perturber.layers[-1].weight *= 5
    return explainer


def value_of(feature, row):
    """One feature's number or category in one model row."""
    if isinstance(feature, Continuous):
        return row[feature.column]
    held = [row[column] for column in feature.columns]
    if not feature.one_hot:
        assert held[0] == int(held[0])
        return feature.categories[int(held[0])]
    assert sorted(held) == [0.0] * (len(held) - 1) + [1.0]
    return feature.categories[held.index(1)]


def broken(feature, own, changed):
    """Which constraint of one feature does not let `own` become `changed`."""
    if not feature.mutable and changed != own:
        return "immutable"
    if isinstance(feature, Categorical):
        allowed = feature.categories if feature.allowed is None else feature.allowed
        return None if changed == own or changed in allowed else "allowed"
    if (changed < own and changed < feature.lower) or (changed > own and changed > feature.upper):
        return "bounds"
    if (feature.direction == "up" and changed < own) or (
        feature.direction == "down" and changed > own
    ):
        return "direction"
    if not own + feature.reach[0] <= changed <= own + feature.reach[1]:
        return "reach"
    if feature.integer and changed not in (own, math.floor(changed)):
        return "integer"
    return None


def assert_kept(schema, found):
    for before, after in zip(found.original.tolist(), found.perturbed.tolist(), strict=True):
        for feature in schema.features:
            own, changed = value_of(feature, before), value_of(feature, after)
            assert broken(feature, own, changed) is None, (feature, own, changed)
    fixed = [
        column
        for feature in schema.features
        if not feature.mutable
        for column in getattr(feature, "columns", None) or [feature.column]
    ]
    before, after = (rows[:, fixed].double().numpy() for rows in (found.original, found.perturbed))
    assert before.tobytes() == after.tobytes()
    assert torch.equal(found.perturbation, found.perturbed - found.original)


@pytest.mark.parametrize("mode", MODES)
def test_a_negative_zero_that_may_not_change_stays_one(mode):
    schema = FeatureSchema([Continuous("a", 0), Continuous("b", 1, mutable=False)])
    rows, some = rows_of(schema, N_FITTED, 1), stray_rows(schema, seed=2)
    middle = rows[:, 0].median().item()
    assert some[:, 1].signbit()[some[:, 1] == 0].any()

    def rule(X):
        return X[:, 0] > middle

    assert_kept(schema, a_fit(schema, rows, rule).perturb(some, black_box=rule, **MODES[mode]))


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=15)
@given(schema=schemas(), seed=SEEDS, n_classes=st.sampled_from([2, 3]), told=st.booleans())
def test_every_result_keeps_every_constraint_and_success_is_true(
    mode, schema, seed, n_classes, told
):
    rows, rule = halves(schema, seed, n_classes)
    black_box = BlackBox(rule, classes=range(n_classes))
    explainer = a_fit(schema, rows, black_box, seed)
    assert explainer.n_queries == N_FITTED + 15
    some = stray_rows(schema, seed + 1)
    target = torch.arange(N_ROWS) % n_classes if told else None
    found = explainer.perturb(some, target, black_box=black_box, **MODES[mode])
    assert_kept(schema, found)
    before, after = (rule(X.numpy()) for X in (some, found.perturbed))
    assert found.original_class.tolist() == before.tolist()
    wanted = after == target.numpy() if told else after != before
    assert found.success.tolist() == wanted.tolist()
    if told:
        there = found.original_class == target
        assert not found.perturbation[there].any()
    if mode == "as fitted":
        assert found.queries == 2 * N_ROWS
        never_asked = explainer.perturb(some, target, original_class=found.original_class)
        assert torch.equal(never_asked.perturbed, found.perturbed)
        assert never_asked.success is None


@settings(max_examples=12)
@given(schemas(), SEEDS, st.sampled_from(["as fitted", "all"]))
def test_permuting_the_models_columns_permutes_the_result(schema, seed, mode):
    places = np.random.default_rng(seed).permutation(schema.n_columns)
    moved = FeatureSchema(
        [
            replace(feature, column=places[feature.column])
            if isinstance(feature, Continuous)
            else replace(feature, columns=tuple(places[list(feature.columns)]))
            for feature in schema.features
        ]
    )
    rows, black_box = halves(schema, seed)
    some = stray_rows(schema, seed + 1)

    def there(X):
        result = torch.empty_like(X)
        result[:, places.tolist()] = X
        return result

    found = a_fit(schema, rows, black_box).perturb(some, black_box=black_box, **MODES[mode])
    moved_box = lambda X: black_box(X[:, places])  # noqa: E731
    explainer = a_fit(moved, there(rows), moved_box)
    moved_found = explainer.perturb(there(some), black_box=moved_box, **MODES[mode])
    assert torch.equal(moved_found.perturbed, there(found.perturbed))
    assert torch.equal(moved_found.success, found.success)
    assert moved_found.queries == found.queries


@settings(max_examples=12)
@given(schemas(), SEEDS)
def test_a_dataframe_gives_what_its_rows_give(schema, seed):
    pytest.importorskip("pandas")
    rows, black_box = halves(schema, seed)
    some = rows_of(schema, N_ROWS, seed + 1)
    options = {"black_box": black_box, **MODES["all"]}
    found = a_fit(schema, rows, black_box).perturb(some, **options)
    framed = a_fit(schema, schema.to_dataframe(rows), black_box)
    of_frame = framed.perturb(schema.to_dataframe(some), **options)
    assert torch.equal(of_frame.original, some)
    assert torch.equal(of_frame.perturbed, found.perturbed)
    changed = schema.to_dataframe(of_frame.perturbed)
    assert tuple(changed.columns) == schema.names
    assert torch.equal(schema.to_rows(changed), found.perturbed)
    for certainty in (framed.certainty(schema.to_dataframe(some)), framed.certainty(some)):
        assert torch.equal(certainty.length, framed.certainty(some).length)


@settings(max_examples=12)
@given(schemas(), SEEDS)
def test_a_saved_explainer_explains_alike(schema, seed):
    rows, black_box = halves(schema, seed)
    explainer = a_fit(schema, rows, black_box, validation_fraction=0.2)
    some = stray_rows(schema, seed + 1)
    with tempfile.TemporaryDirectory() as folder:
        explainer.save(Path(folder) / "explainer")
        loaded = MinimalPerturbation.load(Path(folder) / "explainer")
    assert loaded.schema == schema
    for mode in MODES.values():
        options = {"black_box": black_box, **mode}
        found, again = (e.perturb(some, **options) for e in (explainer, loaded))
        assert torch.equal(again.perturbed, found.perturbed)
        assert torch.equal(again.success, found.success)
        assert torch.equal(again.class_after, found.class_after)
    for one, other in zip(
        *(vars(e.certainty(some)).values() for e in (explainer, loaded)), strict=True
    ):
        assert torch.equal(one, other)
    assert loaded.history == explainer.history
    assert (loaded.validity, loaded.n_queries) == (explainer.validity, explainer.n_queries)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_constraints_hold_in_every_dtype(dtype):
    rows = people(200, 0).to(dtype)
    box = BlackBox(lambda X: X[:, 4] > 40)
    found = a_fit(PEOPLE, rows, box).perturb(rows, black_box=box, **MODES["all"])
    assert found.perturbed.dtype == dtype
    assert_kept(PEOPLE, found)
    assert torch.equal(box.labels(found.perturbed) != found.original_class, found.success)


@settings(max_examples=12)
@given(schemas(), SEEDS, st.lists(st.integers(0, N_ROWS - 1), min_size=1, max_size=6))
def test_a_rows_perturbation_does_not_depend_on_its_neighbours(schema, seed, chosen):
    rows, black_box = halves(schema, seed)
    explainer = a_fit(schema, rows, black_box)
    some = stray_rows(schema, seed + 1)
    every, few = explainer.perturb(some), explainer.perturb(some[chosen])
    assert torch.equal(few.target, every.target[chosen])
    torch.testing.assert_close(few.perturbed, every.perturbed[chosen], rtol=1e-4, atol=1e-4)


# A table with a rule that everybody can read.

PEOPLE = FeatureSchema(
    [
        Categorical("job", ("clerk", "cook", "nurse", "smith"), (0, 1, 2, 3)),
        Continuous("income", 4, lower=0, upper=100),
        Continuous("age", 5, lower=18, upper=90, integer=True, direction="up"),
        Categorical("town", ("bath", "rome", "york"), (6,), one_hot=False),
        Categorical("sex", ("f", "m"), (7,), one_hot=False, mutable=False),
        Continuous("noise", 8),
    ]
)
# How much income each job needs for a loan.
NEEDED = np.array([30.0, 60.0, 45.0, 50.0])
CLASSES = ["refused", "granted", "invited"]
# Good enough for these rules, and fitted in a second.
GOOD = {
    "surrogate_widths": (64, 64),
    "perturber_widths": (64, 64),
    "epochs": 10,
    "batch_size": 64,
    "learning_rate": 0.01,
}


def people(n_rows, seed):
    random = np.random.default_rng(seed)
    rows = np.zeros((n_rows, 9), dtype=np.float32)
    rows[np.arange(n_rows), random.integers(0, 4, n_rows)] = 1
    rows[:, 4] = random.uniform(0, 100, n_rows)
    rows[:, 5] = random.integers(18, 91, n_rows)
    rows[:, 6] = random.integers(0, 3, n_rows)
    rows[:, 7] = random.integers(0, 2, n_rows)
    rows[:, 8] = random.normal(size=n_rows)
    return torch.from_numpy(rows)


def granted(X):
    return X[:, 4] > X[:, :4] @ NEEDED.astype(X.dtype)


def decided(X):
    """Three classes: the rich are not only granted a loan but invited."""
    return granted(X).astype(int) + (granted(X) & (X[:, 4] > 75))


def named(X):
    return np.array(CLASSES)[decided(X)]


def n_changed_categories(found):
    before, after = (PEOPLE.encode(X)[:, 3:] for X in (found.original, found.perturbed))
    groups = zip(*(X.split(PEOPLE.group_sizes, dim=1) for X in (before, after)), strict=True)
    return sum((one != other).any(dim=1).double() for one, other in groups)


@pytest.fixture(scope="module")
def loans():
    return MinimalPerturbation(schema=PEOPLE, **GOOD).fit(people(1000, 0), granted)


def test_a_rule_over_mixed_columns_is_flipped_with_few_changes(loans):
    some = people(500, 1)
    found = loans.perturb(some, black_box=granted)
    assert_kept(PEOPLE, found)
    assert loans.recovery_accuracy > 0.95
    assert loans.validity > 0.95
    assert found.success.double().mean() > 0.95
    assert n_changed_categories(found).mean() < 1.5
    checked, all_ = (
        loans.perturb(some, black_box=granted, **MODES[mode]) for mode in ("checked", "all")
    )
    assert checked.success.double().mean() > 0.99
    assert_kept(PEOPLE, all_)
    # Of what the rule does not look at, nothing stays changed.
    assert torch.equal(all_.perturbed[all_.success][:, 5:], some[all_.success][:, 5:])
    lengths = [
        loans._fitted.length(*(loans._fitted.encoded(X) for X in (f.original, f.perturbed)))
        for f in (found, checked, all_)
    ]
    reached = found.success & checked.success
    assert (lengths[1][reached] <= lengths[0][reached] + 1e-4).all()
    assert lengths[0].mean() > lengths[1].mean() > lengths[2].mean()
    # As fitted, a shift of income alone or of the job is what the rule asks for.
    assert n_changed_categories(all_).mean() < 1


def middling_people(n_rows, seed):
    """Incomes that are enough in some jobs and not in others."""
    rows = people(n_rows, seed)
    rows[:, 4] = 32 + 0.26 * rows[:, 4]
    return rows


@pytest.mark.parametrize("mode", MODES)
def test_where_numbers_cannot_help_one_category_changes(fixed_income, mode):
    some = middling_people(300, 1)
    found = fixed_income.perturb(some, black_box=granted, **MODES[mode])
    assert_kept(fixed_income.schema, found)
    assert found.success.double().mean() > 0.95
    assert n_changed_categories(found)[found.success].min() >= 1
    assert n_changed_categories(found).mean() < 1.5
    assert torch.equal(found.perturbed[:, 4], some[:, 4])
    if mode == "all":
        job_only = some.clone()
        job_only[:, :4] = found.perturbed[:, :4]
        assert torch.equal(found.perturbed[found.success], job_only[found.success])


@pytest.fixture(scope="module")
def fixed_income():
    schema = PEOPLE.restricted(["job", "age", "town", "noise"])
    return MinimalPerturbation(schema=schema, **GOOD).fit(middling_people(1000, 0), granted)


@pytest.fixture(scope="module")
def three_classes():
    settings = {**GOOD, "schema": PEOPLE}
    explainer = MinimalPerturbation(**settings)
    return explainer.fit(people(800, 0), BlackBox(decided, classes=[0, 1, 2])), settings


def test_names_of_the_classes_do_not_matter(three_classes):
    explainer, settings = three_classes
    box = BlackBox(named, classes=CLASSES)
    other = MinimalPerturbation(**settings).fit(people(800, 0), box)
    some = people(100, 1)
    for target in (None, 2):
        found = explainer.perturb(some, target, black_box=decided, line_search=True)
        of_names = other.perturb(some, target, black_box=named, line_search=True)
        assert torch.equal(of_names.original_class, found.original_class)
        assert torch.equal(of_names.perturbed, found.perturbed)
        assert torch.equal(of_names.success, found.success)


def test_numbering_the_classes_otherwise_permutes_targets(three_classes):
    explainer, settings = three_classes
    order = [2, 0, 1]
    box = BlackBox(named, classes=[CLASSES[k] for k in order])
    other = MinimalPerturbation(**settings).fit(people(800, 0), box)
    some = people(300, 1)
    for new, old in enumerate(order):
        found = explainer.perturb(some, old, black_box=decided)
        permuted = other.perturb(some, new, black_box=box)
        assert torch.equal(torch.tensor(order)[permuted.original_class], found.original_class)
        assert found.success.double().mean() > 0.9
        assert permuted.success.double().mean() > 0.9
        for result in (found, permuted):
            reached = decided(result.perturbed.numpy()) == old
            assert result.success.tolist() == reached.tolist()
        # The networks begin with other weights and yet learn to go the same way.
        income = [result.perturbation[:, 4] for result in (found, permuted)]
        assert torch.corrcoef(torch.stack(income))[0, 1] > 0.9
