from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import Generator

from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema
from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.line_search import THIRDS
from xai_adapters.fimap.networks import Perturber, Surrogate
from xai_adapters.fimap.search import CounterfactualSearch

SEEDS = st.integers(0, 2**31)
N_ROWS = 8
LONGEST = 1.5**4


def normal(n_rows, n_columns, seed):
    return torch.randn(n_rows, n_columns, generator=Generator().manual_seed(seed))


def networks_of(schema, spread=None, norm=2):
    """A schema and its metric; the search asks the networks themselves nothing."""
    drawn = ((2,), 0.0, Generator().manual_seed(0), torch.device("cpu"))
    n_numbers = len(schema.continuous)
    return FittedNetworks(
        schema,
        Surrogate(schema.n_encoded, 2, *drawn),
        Perturber(schema.n_encoded, 2, *drawn),
        torch.zeros(n_numbers),
        torch.ones(n_numbers) if spread is None else spread,
        norm,
        None,
        "auto",
    )


class Recorder:
    """Answers by a rule of row numbers and points, and remembers every question."""

    def __init__(self, rule):
        self.rule, self.said, self.n_asked = rule, {}, {}

    def __call__(self, rows, points):
        answers = self.rule(rows, points)
        for row, point, answer in zip(rows.tolist(), points, answers.tolist(), strict=True):
            self.said[row, tuple(point.tolist())] = answer
            self.n_asked[row] = self.n_asked.get(row, 0) + 1
        return answers

    def most(self):
        return max(self.n_asked.values(), default=0)

    def forget(self):
        self.n_asked = {}


def search_of(rule, original, proposal, schema=None, **metric):
    schema = schema or FeatureSchema.all_continuous(original.shape[1])
    recorder = Recorder(rule)
    networks = networks_of(schema, **metric)
    return CounterfactualSearch(networks, original, proposal, recorder), recorder


def wild(rows, points):
    """No rule that anybody would fit: flips here and there, and differently for each row."""
    place = (points.double() * torch.arange(1, points.shape[1] + 1)).sum(dim=1)
    return (3 * place + rows).sin() > 0


# Along the perturbation: black boxes whose boundary is known.


def half_space(original, proposal, share):
    """Beyond a plane that the way to the proposal crosses at `share` of it."""
    way = proposal - original
    limits = ((original + share[:, None] * way) * way).sum(dim=1)
    return lambda rows, points: (points * way[rows]).sum(dim=1) > limits[rows]


def outside_ball(original, proposal, share):
    """Outside a ball around each row, whose surface the way crosses at `share` of it."""
    radius = share * (proposal - original).norm(dim=1)
    return lambda rows, points: (points - original[rows]).norm(dim=1) > radius[rows]


def island(original, proposal, share):
    """In a ball that the way enters at `share` of it, and leaves behind the longest step."""
    way = proposal - original
    first, last = share[:, None], LONGEST + 1
    centre = original + (first + last) / 2 * way
    radius = ((last - first) / 2)[:, 0] * way.norm(dim=1)
    return lambda rows, points: (points - centre[rows]).norm(dim=1) < radius[rows]


DECISIONS = {"half-space": half_space, "ball": outside_ball, "island": island}
SHARES = st.lists(st.integers(1, 99), min_size=N_ROWS, max_size=N_ROWS)


@pytest.mark.parametrize("decision", DECISIONS)
@given(percent=SHARES, seed=SEEDS, n_columns=st.integers(1, 5))
def test_the_shortened_point_lies_just_beyond_the_boundary(decision, percent, seed, n_columns):
    original = normal(N_ROWS, n_columns, seed)
    proposal = original + normal(N_ROWS, n_columns, seed + 1)
    # From a hundredth of the way to nearly as far as a step can be lengthened.
    share = LONGEST * torch.tensor(percent) / 100
    rule = DECISIONS[decision](original, proposal, share)
    search, recorder = search_of(rule, original, proposal)
    search.line_search(torch.zeros_like(original))
    assert search.success.all()
    assert recorder.most() <= 1 + 2 + 9
    way = proposal - original
    step = ((search.best - original) * way).sum(dim=1) / way.square().sum(dim=1)
    torch.testing.assert_close(search.best, original + step[:, None] * way, rtol=1e-4, atol=1e-4)
    longest = share.clamp(min=1) * 2.25
    assert (step > share * (1 - 1e-4)).all()
    assert (step - share <= 0.02 * longest).all()
    if decision == "ball":
        assert rule(torch.arange(N_ROWS), search.best).all()


def test_a_boundary_half_way_or_further_is_hit_within_two_percent():
    original = normal(200, 3, 0)
    proposal = original + normal(200, 3, 1)
    share = torch.linspace(0.5, 1, 200)
    search, _ = search_of(half_space(original, proposal, share), original, proposal)
    search.line_search(torch.zeros_like(original))
    error = (search.best - original).norm(dim=1) / (share * (proposal - original).norm(dim=1)) - 1
    assert error.min() > -1e-4
    assert error.max() < 0.032
    assert error.mean() < 0.02


def everything(search, seed=0):
    towards = 0.3 * torch.ones_like(search.original[:, : len(search.networks.mean)])
    search.line_search(towards, shorten=seed % 3 > 0)
    search.sparsify()
    search.shorten(THIRDS)
    search.local_search(6, seed, keep_zeros=seed % 2 == 0)


def once(search, seed=0):
    search.confirm()


def drawn_search(schema, seed, rule, norm=2):
    original = schema.encode(rows_of(schema, N_ROWS, seed))
    proposal = original + 2 * normal(*original.shape, seed + 1)
    spread = 0.5 + torch.rand(len(schema.continuous), generator=Generator().manual_seed(seed))
    return search_of(rule, original, proposal, schema, spread=spread, norm=norm)


@pytest.mark.parametrize("run", [everything, once])
@given(schema=schemas(), seed=SEEDS, norm=st.sampled_from([1, 2]))
def test_success_is_what_the_black_box_said_at_the_very_point(run, schema, seed, norm):
    search, recorder = drawn_search(schema, seed, wild, norm)
    run(search, seed)
    assert torch.equal(search.networks.schema.settle(search.original, search.best), search.best)
    for row in range(N_ROWS):
        assert recorder.said[row, tuple(search.best[row].tolist())] is bool(search.success[row])
    assert torch.equal(search.success, wild(torch.arange(N_ROWS), search.best))


@given(schemas(), SEEDS)
def test_every_question_keeps_the_schema(schema, seed):
    search, _ = drawn_search(schema, seed, None)

    def rule(rows, points):
        assert torch.equal(schema.settle(search.original[rows], points), points)
        return wild(rows, points)

    search.flips = rule
    everything(search, seed)


@given(schemas(), SEEDS, st.lists(st.integers(0, N_ROWS - 1), min_size=1, max_size=9))
def test_a_rows_result_does_not_depend_on_its_neighbours(schema, seed, chosen):
    all_rows, _ = drawn_search(schema, seed, wild)
    everything(all_rows, seed)
    numbers = torch.tensor(chosen)
    some = CounterfactualSearch(
        all_rows.networks,
        all_rows.original[chosen],
        all_rows.proposal[chosen],
        lambda rows, points: wild(numbers[rows], points),
    )
    everything(some, seed)
    assert torch.equal(some.success, all_rows.success[chosen])
    assert torch.equal(some.best, all_rows.best[chosen])


def test_asking_once_asks_at_the_proposal_only():
    original, proposal = normal(N_ROWS, 2, 0), normal(N_ROWS, 2, 1)
    search, recorder = search_of(wild, original, proposal)
    search.confirm()
    assert recorder.n_asked == dict.fromkeys(range(N_ROWS), 1)
    torch.testing.assert_close(search.best, proposal)


# Lengthening.


def test_rows_that_fall_short_are_lengthened_and_those_that_reach_are_not():
    original = torch.zeros(6, 2)
    proposal = torch.tensor([[1.0, 0.0]]).repeat(6, 1)
    limits = torch.tensor([0.5, 0.99, 1.2, 3.0, 5.0, 6.0])
    search, recorder = search_of(
        lambda rows, points: points[:, 0] > limits[rows], original, proposal
    )
    search.line_search(torch.zeros(6, 2), shorten=False)
    assert search.success.tolist() == [True] * 5 + [False]
    torch.testing.assert_close(
        search.best[:, 0], torch.tensor([1.0, 1.0, 2.25, 2.25**2, 2.25**2, 1.0])
    )
    # The last row was led in the mean direction too, in vain.
    assert [recorder.n_asked[row] for row in range(6)] == [1, 1, 2, 3, 3, 6]


def test_where_the_own_direction_is_wrong_the_mean_direction_is_taken():
    original = normal(N_ROWS, 2, 0)
    wrong = original - torch.tensor([1.0, 0.0])
    search, recorder = search_of(
        lambda rows, points: points[:, 0] > original[rows, 0] + 2, original, wrong
    )
    search.line_search(torch.tensor([[1.0, 0.1]]).repeat(N_ROWS, 1))
    assert search.success.all()
    moved = search.best - original
    assert (moved[:, 0] - 2 < 0.02 * 2.25).all()
    torch.testing.assert_close(moved[:, 1], 0.1 * moved[:, 0], rtol=1e-3, atol=1e-5)
    assert recorder.most() <= 12


def test_the_mean_direction_goes_with_the_proposed_categories():
    schema = FeatureSchema([Continuous("x", 0), Categorical("job", "abc", (1, 2, 3))])
    original = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    proposal = torch.tensor([[-1.0, 0.2, 0.1, 5.0]])
    search, _ = search_of(
        lambda rows, points: (points[:, 0] > 0.9) & (points[:, 3] == 1), original, proposal, schema
    )
    search.line_search(torch.tensor([[1.0]]), shorten=False)
    assert search.success.all()
    assert search.best.tolist() == [[1.0, 0.0, 0.0, 1.0]]


def test_twelve_questions_are_the_most_where_categories_are_asked_about_alone():
    """The row that is asked most: only the longest step in the mean direction flips it."""
    schema = FeatureSchema([Continuous("x", 0), Categorical("job", "abc", (1, 2, 3))])
    original = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    proposal = torch.tensor([[-1.0, 0.2, 0.1, 5.0]])
    search, recorder = search_of(lambda rows, points: points[:, 0] > 5, original, proposal, schema)
    search.line_search(torch.tensor([[1.0]]))
    assert search.success.all()
    assert recorder.most() == 12


def test_a_change_of_categories_alone_cannot_be_shortened():
    schema = FeatureSchema([Continuous("x", 0), Categorical("job", "abc", (1, 2, 3))])
    original = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    proposal = torch.tensor([[0.0, 0.2, 0.1, 5.0], [1.0, 0.2, 0.1, 5.0]])
    search, recorder = search_of(lambda rows, points: points[:, 3] == 1, original, proposal, schema)
    search.line_search(torch.zeros(2, 1))
    assert search.success.all()
    # Of the second row the categories alone were asked about, and were enough.
    assert recorder.n_asked == {0: 1, 1: 2}
    assert search.best.tolist() == [[0.0, 0.0, 0.0, 1.0]] * 2
    search.shorten(THIRDS)
    assert recorder.n_asked == {0: 1, 1: 2}


def test_categories_that_are_not_enough_alone_go_with_the_shortest_step():
    schema = FeatureSchema([Continuous("x", 0), Categorical("job", "abc", (1, 2, 3))])
    original = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    proposal = torch.tensor([[1.0, 0.2, 0.1, 5.0]])
    search, recorder = search_of(
        lambda rows, points: (points[:, 0] > 0.4) & (points[:, 3] == 1), original, proposal, schema
    )
    search.line_search(torch.zeros(1, 1))
    assert search.success.all()
    assert search.best.tolist() == [[26 / 64, 0.0, 0.0, 1.0]]
    assert recorder.n_asked == {0: 2 + 9}


def test_where_nothing_flips_the_proposal_stays():
    schema = FeatureSchema([Continuous("x", 0, upper=1), Categorical("job", "abc", (1, 2, 3))])
    original = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 1.0, 0.0]])
    proposal = torch.tensor([[-1.0, 0.2, 0.1, 5.0], [7.0, 9.0, 0.0, 0.0]])
    search, recorder = search_of(
        lambda rows, _: torch.zeros(len(rows), dtype=torch.bool), original, proposal, schema
    )
    search.line_search(torch.ones(2, 1))
    search.sparsify()
    search.shorten(THIRDS)
    search.local_search(10, 0, keep_zeros=False)
    assert not search.success.any()
    assert torch.equal(search.best, schema.settle(original, proposal))
    # At the proposal, with its categories alone, at two longer steps, and three times in the mean
    # direction.
    assert recorder.most() == 7


@given(schemas(), SEEDS)
def test_the_check_asks_at_most_twelve_times_a_row(schema, seed):
    search, recorder = drawn_search(schema, seed, wild)
    search.line_search(0.3 * torch.ones(N_ROWS, len(schema.continuous)))
    assert recorder.most() <= 12


# Putting back.


def monotone_search(n_numbers, group_sizes, seed, needed, small=False):
    """A search whose black box flips where the changes weigh enough, whatever their sign.

    Args:
        needed: what share of the weight of all changes is enough.
        small: make some changes ten thousand times smaller than others.
    """
    features = [Continuous(f"c{i}", i) for i in range(n_numbers)]
    at = n_numbers
    for size in group_sizes:
        columns = tuple(range(at, at + size))
        features.append(Categorical(f"k{at}", tuple(range(size)), columns))
        at += size
    schema = FeatureSchema(features)
    rows = rows_of(schema, N_ROWS, seed)
    others = rows_of(schema, N_ROWS, seed + 1)
    others[:, :n_numbers] = rows[:, :n_numbers] + normal(N_ROWS, n_numbers, seed)
    generator = Generator().manual_seed(seed)
    if small:
        tiny = torch.rand((N_ROWS, n_numbers), generator=generator) < 0.5
        change = (others - rows)[:, :n_numbers] * torch.where(tiny, 1e-4, 1.0)
        others[:, :n_numbers] = rows[:, :n_numbers] + change
    weights = torch.rand((N_ROWS, schema.n_encoded), generator=generator).double()
    full = ((others != rows) * weights).sum(dim=1)

    def rule(numbers, points):
        changed = points != rows[numbers]
        return (changed * weights[numbers]).sum(dim=1) >= needed * full[numbers] - 1e-9

    return (*search_of(rule, rows, others, schema), schema)


def owners(schema):
    """The encoded columns of each feature."""
    yield from ([at] for at in range(len(schema.continuous)))
    at = len(schema.continuous)
    for size in schema.group_sizes:
        yield list(range(at, at + size))
        at += size


@pytest.mark.parametrize("small", [False, True])
@given(
    n_numbers=st.integers(1, 12),
    group_sizes=st.lists(st.integers(2, 3), max_size=3),
    seed=SEEDS,
    needed=st.sampled_from([0.01, 0.05, 0.3, 0.6, 0.95, 1.0]),
)
def test_each_feature_that_stays_changed_was_needed(n_numbers, group_sizes, seed, needed, small):
    search, recorder, schema = monotone_search(n_numbers, group_sizes, seed, needed, small)
    search.confirm()
    assert search.success.all()
    before = search.best.clone()
    recorder.forget()
    search.sparsify()
    assert recorder.most() <= 2 * len(schema.features)
    every = torch.arange(N_ROWS)
    assert recorder.rule(every, search.best).all()
    lengths = search.networks.length
    assert (lengths(search.original, search.best) <= lengths(search.original, before)).all()
    for columns in owners(schema):
        now = search.best[:, columns]
        old = (now == search.original[:, columns]).all(dim=1)
        assert (old | (now == before[:, columns]).all(dim=1)).all()
        without = search.best.clone()
        without[:, columns] = search.original[:, columns]
        assert not recorder.rule(every, without)[~old].any()


@given(
    n_numbers=st.integers(1, 3),
    group_sizes=st.lists(st.integers(2, 3), min_size=1, max_size=3),
    seed=SEEDS,
    needed=st.sampled_from([0.3, 0.6, 0.95]),
)
def test_the_check_and_putting_back_ask_nothing_twice(n_numbers, group_sizes, seed, needed):
    search, recorder, _ = monotone_search(n_numbers, group_sizes, seed, needed)
    search.line_search(torch.zeros(N_ROWS, n_numbers), shorten=False)
    search.sparsify()
    assert sum(recorder.n_asked.values()) == len(recorder.said)


@pytest.mark.parametrize("n_numbers", [2, 3, 9, 17, 63, 64, 65, 129, 300])
def test_putting_back_asks_at_most_twice_a_feature(n_numbers):
    # All changes are needed, so that every block is asked about.
    search, recorder, _ = monotone_search(n_numbers, [], 0, needed=1.0)
    search.confirm()
    recorder.forget()
    search.sparsify()
    assert n_numbers <= recorder.most() <= 2 * n_numbers


def test_the_only_change_is_needed_and_not_asked_about():
    search, recorder, _ = monotone_search(1, [], 0, needed=1.0)
    search.confirm()
    recorder.forget()
    before = search.best.clone()
    search.sparsify()
    assert recorder.most() == 0
    assert torch.equal(search.best, before)


@pytest.mark.parametrize("n_numbers", [2, 5, 9, 16, 33])
@pytest.mark.parametrize("enough", [1, 2])
def test_the_smallest_changes_are_undone_first(n_numbers, enough):
    """Any few changes are enough, so that those remain that were tried last: the largest ones."""
    generator = Generator().manual_seed(n_numbers)
    place = torch.stack([torch.randperm(n_numbers, generator=generator) for _ in range(4)])
    # In standard deviations the sizes are 1, 2, 3, ...; in the columns' own units they are not.
    spread = torch.logspace(2, -2, n_numbers)
    search, _ = search_of(
        lambda rows, points: (points != 0).sum(dim=1) >= enough,
        torch.zeros(4, n_numbers), (1 + place) * spread, spread=spread,
    )  # fmt: skip
    search.confirm()
    search.sparsify()
    assert torch.equal(search.best != 0, place >= n_numbers - enough)


def test_few_needed_changes_among_many_are_found_with_few_questions():
    original = torch.zeros(3, 256)
    proposal = 1 + torch.rand(3, 256, generator=Generator().manual_seed(0))
    search, recorder = search_of(
        lambda rows, points: points[:, 7] + points[:, 100] > 2, original, proposal
    )
    search.confirm()
    recorder.forget()
    search.sparsify()
    assert (search.best != 0).nonzero().tolist() == [[r, c] for r in range(3) for c in (7, 100)]
    assert recorder.most() < 50


# Searching nearby.


def island_search(n_columns=2, **settings):
    """Rows whose perturbation is long, with islands of the other class at other sides nearer."""
    original = torch.zeros(4, n_columns)
    proposal = torch.zeros(4, n_columns)
    proposal[:, 0] = 3
    centres = torch.zeros(4, n_columns)
    centres[:, 1] = torch.tensor([1.0, -1.0, 1.5, -1.5])

    def rule(rows, points):
        on_island = (points - centres[rows]).norm(dim=1) < 0.6
        return on_island | (points[:, 0] > 2.9)

    return (*search_of(rule, original, proposal, **settings), centres)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_nearer_island_is_found(seed):
    search, recorder, centres = island_search()
    search.line_search(torch.zeros(4, 2))
    search.shorten(THIRDS)
    assert (search.best[:, 0] > 2.9).all()
    recorder.forget()
    search.local_search(100, seed, keep_zeros=False)
    assert recorder.most() <= 100
    assert search.success.all()
    assert ((search.best - centres).norm(dim=1) < 0.6).all()
    # Its nearest shore is 0.4 or 0.9 away.
    assert (search.best.norm(dim=1) < (centres.norm(dim=1) - 0.6) * 1.25).all()


def test_unchanged_columns_stay_unchanged_if_they_are_to():
    search, _, _ = island_search(n_columns=3)
    search.line_search(torch.zeros(4, 3))
    search.local_search(60, 0, keep_zeros=True)
    assert not search.best[:, 1:].any()
    assert (search.best[:, 0] < 3).all()
    search.local_search(300, 1, keep_zeros=False)
    assert search.best[:, 1:].any()


@given(schemas(), SEEDS, st.integers(0, 12), st.booleans(), st.sampled_from([1, 2]))
def test_searching_nearby_never_lengthens(schema, seed, n_questions, keep_zeros, norm):
    search, recorder = drawn_search(schema, seed, wild, norm)
    search.confirm()
    before, success = search.best.clone(), search.success.clone()
    recorder.forget()
    search.local_search(n_questions, seed, keep_zeros)
    assert recorder.most() <= n_questions
    assert torch.equal(search.success, success)
    assert torch.equal(search.best[~success], before[~success])
    length = search.networks.length
    after = length(search.original, search.best)
    assert (after <= length(search.original, before)).all()
    n_numbers = len(schema.continuous)
    assert torch.equal(search.best[:, n_numbers:], before[:, n_numbers:])
    if keep_zeros:
        same = before == search.original
        assert torch.equal(search.best[same], search.original[same])


def test_the_search_knows_the_units_and_costs_of_the_columns():
    """Nearer means nearer in the schema's metric: a dear column is moved less."""
    schema = FeatureSchema([Continuous("cheap", 0, cost=0.1), Continuous("dear", 1, cost=10.0)])
    original = torch.zeros(5, 2)
    spread = torch.tensor([1.0, 100.0])
    search, _ = search_of(
        lambda rows, points: points.sum(dim=1) > 1,
        original,
        torch.full((5, 2), 0.75),
        schema,
        spread=spread,
    )
    search.line_search(torch.zeros(5, 2))
    search.local_search(400, 0, keep_zeros=False)
    # What one unit costs: 0.1 and 0.1, so both move alike.
    assert ((search.best - 0.5).abs() < 0.15).all()
    assert math.isclose(
        float(search.networks.length(original, search.best)[0]), 0.0707, rel_tol=0.1
    )
