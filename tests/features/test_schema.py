from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from schemas import rows_of, schemas

from xai_adapters.errors import (
    InvalidInputError,
    MissingDependencyError,
    UnknownNameError,
    UnknownOptionError,
)
from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema

SEEDS = st.integers(0, 2**31)
N_ROWS = 6
INF = math.inf


def stray_rows(schema, seed):
    """Rows that fit but for some numbers, which are outside the bounds or fractions."""
    rows = rows_of(schema, N_ROWS, seed, torch.float64)
    random = np.random.default_rng(seed + 1)
    for feature in schema.continuous:
        offsets = random.integers(-20, 21, N_ROWS) / 4 * random.integers(0, 2, N_ROWS)
        rows[:, feature.column] += torch.from_numpy(offsets)
    return rows


def proposals(schema, seed):
    """Encoded rows of scores and numbers, halves of them multiples of a quarter."""
    random = np.random.default_rng(seed + 2)
    values = random.normal(0, 5, (N_ROWS, schema.n_encoded))
    quarters = random.integers(0, 2, values.shape, dtype=bool)
    return torch.from_numpy(np.where(quarters, np.round(values * 4) / 4, values))


def plain_interval(feature, x):
    if not feature.mutable:
        return x, x
    lower = max(min(feature.lower, x), x + feature.reach[0])
    upper = min(max(feature.upper, x), x + feature.reach[1])
    return (x if feature.direction == "up" else lower, x if feature.direction == "down" else upper)


def plain_choices(feature, own):
    if not feature.mutable:
        return {own}
    return {own, *(feature.categories if feature.allowed is None else feature.allowed)}


def value_of(feature, row):
    """One feature's number or category in one model row."""
    if isinstance(feature, Continuous):
        return row[feature.column]
    held = [row[column] for column in feature.columns]
    return feature.categories[held.index(1) if feature.one_hot else int(held[0])]


def keeps(feature, own, changed):
    """Whether the constraints let one feature go from `own` to `changed`."""
    if isinstance(feature, Categorical):
        return changed in plain_choices(feature, own)
    lower, upper = plain_interval(feature, own)
    whole = not feature.integer or changed == own or changed == int(changed)
    return lower <= changed <= upper and whole


def plain_settled(feature, own, scores):
    """The nearest that one feature may become; `scores` is its part of an encoded row."""
    if isinstance(feature, Categorical):
        allowed = plain_choices(feature, own)
        ranked = zip(scores, feature.categories, strict=True)
        return max((pair for pair in ranked if pair[1] in allowed), key=lambda pair: pair[0])[1]
    lower, upper = plain_interval(feature, own)
    nearest = min(max(scores[0], lower), upper)
    if not feature.integer or nearest == own:
        return nearest
    whole = {math.floor(nearest), math.ceil(nearest)}
    inside = [number for number in whole if lower <= number <= upper]
    return min(inside, key=lambda n: (abs(n - nearest), n % 2)) if inside else own


def parts_of(schema, encoded_row):
    """Each feature with its part of one encoded row."""
    position = len(schema.continuous)
    yield from zip(schema.continuous, ([v] for v in encoded_row[:position]), strict=True)
    for feature in schema.categorical:
        yield feature, encoded_row[position : position + len(feature.categories)]
        position += len(feature.categories)


@given(schemas(), SEEDS, st.sampled_from([torch.float32, torch.float64]))
def test_encoding_goes_there_and_back(schema, seed, dtype):
    rows = rows_of(schema, N_ROWS, seed, dtype)
    encoded = schema.encode(rows)
    assert encoded.shape == (N_ROWS, schema.n_encoded)
    assert encoded.dtype == dtype
    assert torch.equal(schema.decode(encoded), rows)
    for row, encoded_row in zip(rows.tolist(), encoded.tolist(), strict=True):
        for feature, part in parts_of(schema, encoded_row):
            own = value_of(feature, row)
            wanted = [own] if isinstance(feature, Continuous) else []
            wanted += [float(category == own) for category in getattr(feature, "categories", ())]
            assert part == wanted
    if all(feature.one_hot for feature in schema.categorical):
        assert torch.equal(encoded.sort(dim=1).values, rows.sort(dim=1).values)


@given(schemas(), SEEDS)
def test_settling_gives_the_nearest_that_keeps_every_constraint(schema, seed):
    rows, proposed = stray_rows(schema, seed), proposals(schema, seed)
    settled = schema.settle(schema.encode(rows), proposed)
    changed = schema.decode(settled).tolist()
    for row, scores, new in zip(rows.tolist(), proposed.tolist(), changed, strict=True):
        for feature, part in parts_of(schema, scores):
            own, found = value_of(feature, row), value_of(feature, new)
            assert keeps(feature, own, found), feature
            assert found == plain_settled(feature, own, part), feature


@given(schemas(), SEEDS)
def test_intervals_and_choices_say_where_a_row_may_go(schema, seed):
    rows = stray_rows(schema, seed)
    encoded = schema.encode(rows)
    ends = torch.stack(schema.intervals(encoded), dim=2).tolist()
    choices = schema.choices(encoded)
    assert choices[encoded[:, len(schema.continuous) :] == 1].all()
    for row, intervals, open_ in zip(rows.tolist(), ends, choices.tolist(), strict=True):
        for feature, interval in zip(schema.continuous, intervals, strict=True):
            own = value_of(feature, row)
            assert tuple(interval) == plain_interval(feature, own)
            assert interval[0] <= own <= interval[1]
        wanted = [
            category in plain_choices(feature, value_of(feature, row))
            for feature in schema.categorical
            for category in feature.categories
        ]
        assert open_ == wanted


@given(schemas(), SEEDS)
def test_a_proposal_that_keeps_the_constraints_is_returned(schema, seed):
    rows, others = stray_rows(schema, seed), rows_of(schema, N_ROWS, seed + 3, torch.float64)
    wanted = rows.clone()
    for feature in schema.features:
        columns = [getattr(feature, "column", None)]
        columns = list(feature.columns) if isinstance(feature, Categorical) else columns
        for at, (row, other) in enumerate(zip(rows.tolist(), others.tolist(), strict=True)):
            if keeps(feature, value_of(feature, row), value_of(feature, other)):
                wanted[at, columns] = others[at, columns]
    proposed = schema.encode(wanted)
    assert torch.equal(schema.settle(schema.encode(rows), proposed), proposed)


@given(schemas(), SEEDS)
def test_settling_twice_changes_nothing_and_rows_settle_alone(schema, seed):
    encoded, proposed = schema.encode(stray_rows(schema, seed)), proposals(schema, seed)
    once = schema.settle(encoded, proposed)
    assert torch.equal(schema.settle(encoded, once), once)
    alone = [schema.settle(encoded[i : i + 1], proposed[i : i + 1]) for i in range(N_ROWS)]
    assert torch.equal(torch.cat(alone), once)
    assert schema.settle(encoded[:0], proposed[:0]).shape == (0, schema.n_encoded)


@given(schemas(), SEEDS)
def test_the_order_of_the_model_columns_does_not_matter(schema, seed):
    rows, proposed = stray_rows(schema, seed), proposals(schema, seed)
    places = np.random.default_rng(seed).permutation(schema.n_columns).tolist()
    moved = FeatureSchema(
        [
            replace(feature, column=places[feature.column])
            if isinstance(feature, Continuous)
            else replace(feature, columns=tuple(places[column] for column in feature.columns))
            for feature in schema.features
        ]
    )
    moved_rows = torch.empty_like(rows)
    moved_rows[:, places] = rows
    encoded = moved.encode(moved_rows)
    assert torch.equal(encoded, schema.encode(rows))
    found = moved.decode(moved.settle(encoded, proposed))
    wanted = schema.decode(schema.settle(schema.encode(rows), proposed))
    assert torch.equal(found[:, places], wanted)


def test_what_is_immutable_comes_back_bit_for_bit():
    schema = FeatureSchema(
        [
            Continuous("a", 0, mutable=False, integer=True, upper=1),
            Continuous("b", 1, mutable=False),
            Categorical("c", ("x", "y"), (2, 3), mutable=False),
        ]
    )
    original = torch.tensor([[0.1, -0.0, -0.0, 1.0], [7.3, 1e30, 1.0, -0.0]])
    settled = schema.settle(original, torch.tensor([[5.0, 5.0, 9.0, 0.0], [0.0, 0.0, 0.0, 9.0]]))
    assert settled.numpy().tobytes() == original.numpy().tobytes()


def test_an_allowed_category_wins_even_with_a_score_of_minus_infinity():
    schema = FeatureSchema([Categorical("c", "xyz", (0, 1, 2), allowed="y")])
    original, scores = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[5.0, -INF, -INF]])
    assert schema.settle(original, scores).tolist() == [[0.0, 1.0, 0.0]]


def test_a_row_in_a_gap_between_whole_numbers_stays():
    schema = FeatureSchema([Continuous("c", 0, integer=True, reach=(-0.25, 0.25))])
    own = torch.tensor([[2.5], [2.8]])
    assert schema.settle(own, own + 9).tolist() == [[2.5], [3.0]]


@given(schemas(), SEEDS)
def test_facts_are_json_and_make_the_same_schema(schema, seed):
    read = FeatureSchema.from_dict(json.loads(json.dumps(schema.to_dict(), allow_nan=False)))
    assert read == schema
    assert hash(read) == hash(schema)
    assert str(read.features) == str(schema.features)
    encoded, proposed = schema.encode(rows_of(schema, N_ROWS, seed)), proposals(schema, seed)
    assert torch.equal(read.settle(encoded, proposed), schema.settle(encoded, proposed))


AGE = {"kind": "continuous", "name": "age", "column": 0, "lower": None, "upper": None}


@pytest.mark.parametrize(
    "facts",
    [
        {},
        [],
        {"features": None},
        {"features": []},
        {"features": [{"kind": "text", "name": "age"}]},
        {"features": [AGE]},
        {"features": [{**AGE, "reach": [None]}]},
        {"features": [{**AGE, "reach": [None, None], "lower": "low"}]},
        {"features": [{**AGE, "reach": [None, None], "colour": 1}]},
        {"features": [{"kind": "categorical", "name": "job"}]},
    ],
)
def test_what_is_not_the_facts_of_a_schema_is_refused(facts):
    with pytest.raises(InvalidInputError):
        FeatureSchema.from_dict(facts)


def test_a_schema_counts_itself():
    schema = FeatureSchema(
        [Categorical("job", ("a", "b", "c"), (0, 1, 3)), Continuous("age", 2), _codes("sex", 4)]
    )
    assert repr(schema) == "FeatureSchema(5 columns: 1 continuous, 2 categorical features)"
    assert (schema.names, schema.n_columns, schema.n_encoded) == (("job", "age", "sex"), 5, 6)
    assert schema.group_sizes == (3, 2)


def _codes(name, column, **settings):
    return Categorical(name, ("f", "m"), (column,), one_hot=False, **settings)


# What is made, and what the message says of it.
BAD_SCHEMAS = {
    "no features": (lambda: FeatureSchema([]), "at least one feature"),
    "a column in two roles": (
        lambda: FeatureSchema([Continuous("age", 1), Categorical("job", "ab", (0, 1))]),
        "column 1 belongs to both age and job",
    ),
    "overlapping groups": (
        lambda: FeatureSchema(
            [Categorical("sex", "fm", (0, 1)), Categorical("job", "abc", (1, 2, 3))]
        ),
        "column 1 belongs to both sex and job",
    ),
    "a column nobody describes": (
        lambda: FeatureSchema([Continuous("age", 0), Continuous("income", 2)]),
        "column 1 belongs to no feature; describe every column from 0 to 2",
    ),
    "two names alike": (
        lambda: FeatureSchema([Continuous("age", 0), Continuous("age", 1)]),
        "two features are called age, one of them in column 1",
    ),
    "a negative column": (lambda: Continuous("age", -1), "age: column -1 is not a position"),
    "bounds crossed": (
        lambda: Continuous("age", 3, lower=9, upper=1),
        r"age \(column 3\): no number lies in the bounds 9 to 1",
    ),
    "a bound that is no number": (
        lambda: Continuous("age", 3, upper=math.nan),
        r"age \(column 3\): no number lies",
    ),
    "bounds beyond all numbers": (
        lambda: Continuous("age", 3, lower=INF),
        r"age \(column 3\): no number lies",
    ),
    "no whole number between": (
        lambda: Continuous("age", 3, lower=1.2, upper=1.8, integer=True),
        r"age \(column 3\): no whole number lies in the bounds 1.2 to 1.8",
    ),
    "a direction": (
        lambda: Continuous("age", 3, direction="older"),
        r"age \(column 3\): direction must be one of 'both', 'up', 'down', is 'older'",
    ),
    "a reach that leaves the row out": (
        lambda: Continuous("age", 3, reach=(1, 2)),
        r"age \(column 3\): reach must go from 0 or less to 0 or more, not 1 to 2",
    ),
    "a bound in words": (
        lambda: Continuous("age", 3, lower="low"),
        r"age \(column 3\): lower must be a number, is 'low'",
    ),
    "a flag in words": (
        lambda: Continuous("age", 3, mutable="no"),
        r"age \(column 3\): mutable must be True or False, is 'no'",
    ),
    "half a column": (
        lambda: Continuous("age", 1.5),
        r"age: columns must be whole numbers, are \[1.5\]",
    ),
    "a feature by its name": (
        lambda: FeatureSchema(["age"]),
        "features must be Continuous or Categorical, one is 'age'",
    ),
    "a cost of zero": (lambda: Continuous("age", 3, cost=0), r"age \(column 3\): cost must be"),
    "an infinite cost": (lambda: _codes("sex", 4, cost=INF), r"sex \(columns 4\): cost must be"),
    "a category twice": (
        lambda: Categorical("job", ("a", "b", "a"), (0, 1, 2)),
        r"job \(columns 0, 1, 2\): category 'a' is listed twice",
    ),
    "a column twice": (lambda: Categorical("job", "ab", (1, 1)), "job: column 1 is listed twice"),
    "too few columns": (
        lambda: Categorical("job", "abc", (0, 1)),
        r"job \(columns 0, 1\): 3 categories one-hot take 3 columns, not 2",
    ),
    "codes in two columns": (
        lambda: Categorical("job", "ab", (0, 1), one_hot=False),
        "job .*2 categories as codes take 1 column",
    ),
    "no categories": (lambda: Categorical("job", (), ()), "job .*0 categories"),
    "a category of another type": (
        lambda: Categorical("job", ("a", None), (0, 1)),
        r"job \(columns 0, 1\): category None is of type NoneType",
    ),
    "a category that is no number": (
        lambda: Categorical("job", (1.0, math.nan), (0, 1)),
        r"job \(columns 0, 1\): category nan",
    ),
    "an unknown allowed category": (
        lambda: Categorical("job", "ab", (0, 1), allowed=("c",)),
        r"job \(columns 0, 1\): allowed category 'c' is none of its categories",
    ),
}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Continuous("age", 0, mutabel=False),
            "Continuous has no option 'mutabel'. Did you mean 'mutable'?",
        ),
        (
            lambda: Categorical("job", "ab", (0, 1), allow=("a",)),
            "Categorical has no option 'allow'. Did you mean 'allowed'?",
        ),
        (
            lambda: FeatureSchema.all_continuous(3, lowest=0),
            "FeatureSchema.all_continuous has no option 'lowest'. Did you mean 'lower'?",
        ),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(call, message):
    with pytest.raises(UnknownOptionError) as raised:
        call()
    assert str(raised.value) == message


@pytest.mark.parametrize("case", BAD_SCHEMAS)
def test_a_bad_schema_is_refused_by_name_and_column(case):
    make, message = BAD_SCHEMAS[case]
    with pytest.raises(InvalidInputError, match=message):
        make()


PEOPLE = FeatureSchema(
    [
        Continuous("age", 0, lower=0, upper=90, integer=True),
        Categorical("job", ("clerk", "cook", "nurse"), (1, 4, 2)),
        Categorical("town", ("x", "y"), (3,), one_hot=False),
    ]
)
GOOD_ROW = [30.0, 1.0, 0.0, 1.0, 0.0]
BAD_ROWS = {
    "nothing chosen": ([30, 0, 0, 1, 0], False, "job: row 2 holds no 1; expected a 1 in one"),
    "two chosen": ([30, 1, 0, 1, 1], False, "job: row 2 holds 1 in column 1, 1 in column 4;"),
    "a half": ([30, 0.5, 0.5, 1, 0], False, "job: row 2 holds 0.5 in column 1, 0.5 in column 2"),
    "less than nothing": ([30, 1, 1, 1, -1], False, "job: row 2 .* -1 in column 4"),
    "no number": ([30, 1, math.nan, 1, 0], False, "job: row 2 .* nan in column 2"),
    "a code between": ([30, 1, 0, 0.5, 0], False, "town: row 2 holds 0.5 in column 3; expected"),
    "a code beyond": ([30, 1, 0, 2, 0], False, "town: row 2 .* a whole number from 0 to 1"),
    "a negative code": ([30, 1, 0, -1, 0], False, "town: row 2 holds -1 in column 3"),
    "too old": ([95, 1, 0, 1, 0], True, "age: row 2 is 95.0, outside the bounds 0 to 90"),
    "not born": ([-1, 1, 0, 1, 0], True, "age: row 2 is -1.0, outside the bounds 0 to 90"),
    "a little too old": ([90.0001, 1, 0, 1, 0], True, "age: row 2 is 90.0001, outside the bounds"),
    "between birthdays": ([30.5, 1, 0, 1, 0], True, "age: row 2 is 30.5, not a whole number"),
    "a column missing": ([30, 1, 0, 1], False, r"have 5 columns; these have shape \(4, 4\)"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_do_not_fit_are_refused_by_feature_and_row(case):
    row, bounds, message = BAD_ROWS[case]
    good = GOOD_ROW[: len(row)]
    rows = torch.tensor([good, good, row, row], dtype=torch.float32)
    with pytest.raises(InvalidInputError, match=message):
        PEOPLE.check(rows, bounds=bounds)


@pytest.mark.parametrize("case", [case for case, (_, bounds, _) in BAD_ROWS.items() if bounds])
def test_bounds_are_checked_only_when_asked(case):
    PEOPLE.check(torch.tensor([BAD_ROWS[case][0]], dtype=torch.float32))


@given(schemas(), SEEDS)
def test_rows_that_fit_pass_the_check(schema, seed):
    schema.check(rows_of(schema, N_ROWS, seed), bounds=True)


def test_a_bound_that_float32_cannot_hold_does_not_exclude_the_row_it_came_from():
    schema = FeatureSchema.all_continuous(1, upper=0.1)
    schema.check(torch.tensor([[0.1]], dtype=torch.float32), bounds=True)


@pytest.mark.parametrize("call", ["encode", "decode", "intervals", "choices"])
def test_rows_of_another_width_are_refused(call):
    with pytest.raises(InvalidInputError, match=r"columns; these have shape \(2, 9\)"):
        getattr(PEOPLE, call)(torch.zeros(2, 9))


def test_all_continuous_takes_bounds_for_all_or_for_each():
    schema = FeatureSchema.all_continuous(2, names=["a", "b"], lower=[0, 1], upper=5)
    assert schema.features == (
        Continuous("a", 0, lower=0, upper=5),
        Continuous("b", 1, lower=1, upper=5),
    )
    with pytest.raises(InvalidInputError, match="3 names were given for 2 features"):
        FeatureSchema.all_continuous(2, names="abc")
    with pytest.raises(InvalidInputError, match="lower needs one number or one for each of 2"):
        FeatureSchema.all_continuous(2, lower=[0, 1, 2])


TRAINING = np.array([[0.0, 0, 10], [1, 2, 14], [0, 1, 18]])
# Arguments of from_alibi, and the features they mean.
ALIBI_FORMS = {
    "nothing": ((2, {}), [Continuous("x0", 0), Continuous("x1", 1)]),
    "Proto, one-hot": (
        (6, {"cat_vars": {1: 3}, "ohe": True, "feature_range": (0.0, 1.0)}),
        [
            Continuous("x0", 0, lower=0, upper=1),
            Categorical("x1", (0, 1, 2), (1, 2, 3)),
            Continuous("x2", 4, lower=0, upper=1),
            Continuous("x3", 5, lower=0, upper=1),
        ],
    ),
    "Proto, one-hot, a range of ordinal width": (
        (
            4,
            {
                "cat_vars": {0: 2},
                "ohe": True,
                "feature_range": (np.array([[-9.0, 1, 2]]), np.array([[9.0, 3, 4]])),
            },
        ),
        [
            Categorical("x0", (0, 1), (0, 1)),
            Continuous("x1", 2, lower=1, upper=3),
            Continuous("x2", 3, lower=2, upper=4),
        ],
    ),
    "Proto, codes": (
        (2, {"cat_vars": {1: 3}}),
        [Continuous("x0", 0), Categorical("x1", (0, 1, 2), (1,), one_hot=False)],
    ),
    "CFRL": (
        (
            3,
            {
                "category_map": {0: ["f", "m"]},
                "feature_names": ["sex", "rooms", "age"],
                "immutable_features": ["sex"],
                "ranges": {"age": [-0.25, 1.0], "rooms": [-1, 0]},
                "training": TRAINING,
            },
        ),
        [
            Categorical("sex", ("f", "m"), (0,), one_hot=False, mutable=False),
            Continuous("rooms", 1, lower=0, upper=2, reach=(-2, 0)),
            Continuous("age", 2, lower=10, upper=18, reach=(-2, 8)),
        ],
    ),
    "CFRL with a range of our own": (
        (3, {"ranges": {"x2": [0, 0.5]}, "training": TRAINING, "feature_range": (-1, 99)}),
        [
            Continuous("x0", 0, lower=-1, upper=99),
            Continuous("x1", 1, lower=-1, upper=99),
            Continuous("x2", 2, lower=-1, upper=99, reach=(0, 4)),
        ],
    ),
}


@pytest.mark.parametrize("case", ALIBI_FORMS)
def test_alibis_forms_become_features(case):
    (n_columns, settings), wanted = ALIBI_FORMS[case]
    assert FeatureSchema.from_alibi(n_columns, **settings) == FeatureSchema(wanted)


def test_alibis_ranges_are_relative_to_the_row_and_to_the_training_range():
    schema = FeatureSchema.from_alibi(3, ranges={"x2": [-0.25, 0.5]}, training=TRAINING)
    lower, upper = schema.intervals(torch.tensor([[0.0, 0.0, 13.0], [0.0, 0.0, 30.0]]))
    assert lower[:, 2].tolist() == [11.0, 28.0]
    assert upper[:, 2].tolist() == [17.0, 30.0]


CODES = {"category_map": {0: ["f", "m"]}, "training": TRAINING}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cat_vars": {3: 2}}, "column 3 cannot start a categorical feature"),
        ({"cat_vars": {0: 2, 1: 2}, "ohe": True}, "column 1 cannot start a categorical feature"),
        ({"cat_vars": {1: 3}, "ohe": True}, "column 1 has 3 one-hot columns, and only 2 are left"),
        ({"cat_vars": {1: 0}}, "x1 .*0 categories"),
        ({"category_map": {0: "ab"}, "cat_vars": {0: 2}}, "not both"),
        ({"category_map": {0: "ab"}, "ohe": True}, "not both"),
        ({"category_map": {0: "aa"}}, r"x0 \(columns 0\): category 'a' is listed twice"),
        ({"feature_names": ["a"]}, "1 names were given for 3 features"),
        ({"cat_vars": {0: 2}, "ohe": True, "feature_range": ([0] * 3, 1)}, "each of 2 features"),
        ({"ranges": {"x1": [0, 1]}}, "give training too"),
        ({**CODES, "ranges": {"x0": [0, 1]}}, "x0 is categorical; ranges are for continuous"),
        ({**CODES, "ranges": {"x1": [0.5, 1]}}, r"x1: ranges must hold a number in \[-1, 0\]"),
        ({**CODES, "ranges": {"x1": [0, 2]}}, "x1: ranges must hold"),
        ({**CODES, "ranges": {"x1": [1]}}, r"x1: two numbers, \[lower, upper\], are needed"),
        ({**CODES, "training": TRAINING[:, :2]}, "training has 2 columns where 3 were expected"),
    ],
)
def test_alibis_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        FeatureSchema.from_alibi(3, **settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FeatureSchema.from_alibi(1, feature_names=["age"], immutable_features=["aeg"]),
        lambda: FeatureSchema.from_alibi(
            1, feature_names=["age"], ranges={"aeg": [0, 1]}, training=[[1.0]]
        ),
        lambda: FeatureSchema.all_continuous(1, names=["age"]).restricted(["aeg"]),
        lambda: FeatureSchema.all_continuous(1, names=["age"]).restricted("all", {"aeg": [0, 1]}),
    ],
)
def test_a_mistyped_name_is_answered_with_the_nearest(make):
    with pytest.raises(UnknownNameError, match=r"unknown feature 'aeg'. Did you mean 'age'\?"):
        make()


AGE_, JOB, TOWN = PEOPLE.features
FIXED_TOWN = replace(TOWN, mutable=False)
DICE_FORMS = {
    "nothing": (("all", None), [AGE_, JOB, TOWN]),
    "some": ((["age", "job"], None), [AGE_, JOB, FIXED_TOWN]),
    "none": (([], None), [replace(feature, mutable=False) for feature in PEOPLE.features]),
    "ranges": (
        ("all", {"age": [20, 30], "job": ["cook"]}),
        [replace(AGE_, lower=20, upper=30), replace(JOB, allowed=("cook",)), TOWN],
    ),
    "both": (
        (("age", "job"), {"age": (-5, 200), "town": ["x"]}),
        [replace(AGE_, lower=-5, upper=200), JOB, replace(FIXED_TOWN, allowed=("x",))],
    ),
}


@pytest.mark.parametrize("case", DICE_FORMS)
def test_dices_forms_narrow_the_schema(case):
    arguments, wanted = DICE_FORMS[case]
    assert PEOPLE.restricted(*arguments) == FeatureSchema(wanted)


def test_what_was_immutable_stays_so_when_listed():
    schema = FeatureSchema([AGE_, JOB, FIXED_TOWN])
    assert schema.restricted(["town"]).features[2] == FIXED_TOWN


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("age",), "must be 'all' or a list of names, not 'age'"),
        (("all", {"age": [20]}), r"age: two numbers, \[lower, upper\], are needed"),
        (("all", {"age": [30, 20]}), r"age \(column 0\): no number lies"),
        (("all", {"job": ["judge"]}), r"job .*allowed category 'judge' is none"),
    ],
)
def test_dices_settings_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        PEOPLE.restricted(*arguments)


def people_frame(**columns):
    pandas = pytest.importorskip("pandas")
    frame = {
        "age": np.array([30, 41, 58], dtype=np.int16),
        "job": pandas.Categorical(["cook", "clerk", "cook"], categories=["nurse", "cook", "clerk"]),
        "member": [True, False, True],
        "income": [1.5, 0.25, 3.0],
        "town": ["york", "bath", "york"],
    }
    return pandas.DataFrame({**frame, **columns})


def test_a_dataframe_describes_itself():
    schema = FeatureSchema.from_dataframe(
        people_frame(),
        immutable=["age", "town"],
        direction={"income": "up"},
        bounds={"income": (0, 9)},
        cost={"job": 2.0},
    )
    assert schema.features == (
        Continuous("age", 0, integer=True, mutable=False),
        Categorical("job", ("nurse", "cook", "clerk"), (1, 2, 3), cost=2.0),
        Categorical("member", (False, True), (4, 5)),
        Continuous("income", 6, lower=0, upper=9, direction="up"),
        Categorical("town", ("bath", "york"), (7, 8), mutable=False),
    )
    json.dumps(schema.to_dict(), allow_nan=False)


def test_dataframes_become_rows_and_rows_dataframes():
    testing = pytest.importorskip("pandas.testing")
    frame = people_frame()
    schema = FeatureSchema.from_dataframe(frame)
    rows = schema.to_rows(frame[frame.columns[::-1]])
    assert rows.dtype == torch.float32
    assert rows[0].tolist() == [30, 0, 1, 0, 0, 1, 1.5, 0, 1]
    schema.check(rows, bounds=True)
    testing.assert_frame_equal(
        schema.to_dataframe(rows),
        frame.astype({"job": object, "age": "int64", "income": "float32"}),
        # Text is an object to pandas 2 and a string to pandas 3.
        check_dtype=False,
    )
    fractions = rows + torch.eye(1, 9) / 2
    assert schema.to_dataframe(fractions)["age"].tolist() == [30.5, 41.5, 58.5]


@given(schemas(), SEEDS)
def test_rows_of_every_schema_survive_a_dataframe(schema, seed):
    pytest.importorskip("pandas")
    rows = rows_of(schema, N_ROWS, seed)
    frame = schema.to_dataframe(rows)
    assert tuple(frame.columns) == schema.names
    assert torch.equal(schema.to_rows(frame), rows)
    for name in frame:
        feature = schema.features[schema.names.index(name)]
        wanted = [value_of(feature, row) for row in rows.tolist()]
        assert frame[name].tolist() == wanted
        if isinstance(feature, Continuous) and feature.integer:
            assert frame[name].dtype == "int64"


@pytest.mark.parametrize("dtype", ["string", "Int64", "Float64", "boolean", "object"])
def test_nullable_columns_are_like_the_others(dtype):
    pandas = pytest.importorskip("pandas")
    values = {"string": ["a", "b", "a"], "boolean": [True, False, True], "object": [2, "b", 2]}
    column = pandas.Series(values.get(dtype, [1, 2, 1]), dtype=dtype)
    frame = pandas.DataFrame({"c": column})
    schema = FeatureSchema.from_dataframe(frame)
    assert schema.to_dataframe(schema.to_rows(frame))["c"].tolist() == column.tolist()
    column[1] = pandas.NA
    with pytest.raises(InvalidInputError, match="c: row 1"):
        schema.to_rows(pandas.DataFrame({"c": column}))


BAD_COLUMNS = {
    "missing numbers": ({"income": [1.0, math.nan, 2.0]}, "income: row 1 has no value"),
    "missing text": ({"town": ["york", "bath", None]}, "town: row 2 has no value"),
    "dates": (
        {"joined": np.array(["2020-01-01"] * 3, dtype="datetime64[ns]")},
        "joined holds values of type datetime64.*turn them into numbers",
    ),
    "complex": ({"income": [1j, 2j, 3j]}, "income holds values of type complex128"),
    "objects": ({"town": [("york",), ("bath",), 1]}, "town holds values of type tuple"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_column_that_is_no_feature_is_named(case):
    columns, message = BAD_COLUMNS[case]
    with pytest.raises(InvalidInputError, match=message):
        FeatureSchema.from_dataframe(people_frame(**columns))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"income": [1.0, math.nan, 2.0]}, "income: row 1 is nan, not a finite number"),
        ({"income": [1.0, math.inf, 2.0]}, "income: row 1 is inf, not a finite number"),
        ({"income": [1.0, "much", 2.0]}, "income: row 1 is 'much', not a finite number"),
        (
            {"income": np.array(["2020-01-01"] * 3, dtype="datetime64[ns]")},
            r"income: row 0 is Timestamp\('2020-01-01.*, not a finite number",
        ),
        (
            {"town": ["york", "bath", None]},
            "town: row 2 is (None|nan), none of the categories 'bath'",
        ),
        ({"town": ["york", "rome", "x"]}, "town: row 1 is 'rome', none of .* 'bath', 'york'"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_row(columns, message):
    schema = FeatureSchema.from_dataframe(people_frame())
    with pytest.raises(InvalidInputError, match=message):
        schema.to_rows(people_frame(**columns))


def test_a_missing_column_and_rows_that_do_not_fit_are_refused():
    frame = people_frame()
    schema = FeatureSchema.from_dataframe(frame)
    with pytest.raises(InvalidInputError, match="no column income; it has age, job, member, town"):
        schema.to_rows(frame.drop(columns="income"))
    with pytest.raises(InvalidInputError, match="job: row 0 holds no 1"):
        schema.to_dataframe(torch.zeros(1, schema.n_columns))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"immutable": ["aeg"]}, UnknownNameError, "Did you mean 'age'"),
        ({"cost": {"aeg": 2}}, UnknownNameError, "Did you mean 'age'"),
        ({"direction": {"town": "up"}}, InvalidInputError, "town is categorical"),
        ({"bounds": {"town": (0, 1)}}, InvalidInputError, "town is categorical"),
        ({"bounds": {"age": (0,)}}, InvalidInputError, "age: two numbers"),
    ],
)
def test_settings_that_do_not_fit_a_dataframe_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        FeatureSchema.from_dataframe(people_frame(), **settings)


def test_without_pandas_only_dataframes_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = rows_of(PEOPLE, N_ROWS, 0)
    assert torch.equal(PEOPLE.decode(PEOPLE.encode(rows)), rows)
    with pytest.raises(MissingDependencyError, match=r"pip install 'xai-adapters\[benchmark\]'"):
        PEOPLE.to_dataframe(rows)
