import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.fimap.line_search import HALVES, QUARTERS, shortest_step

CPU = torch.device("cpu")
# Where a row's decision changes, in units of its direction; the longest step asked is 2.25^2.
BOUNDARIES = st.lists(st.integers(0, 600).map(lambda k: k / 100), min_size=1, max_size=5)


def plain_search(changes, divisions, n_growths, growth):
    """One row's search, written plainly."""
    below, above = 0.0, 1.0
    for _ in range(n_growths + 1):
        if changes(above):
            break
        below, above = above, above * growth
    else:
        return 1.0, False
    for n_parts in divisions:
        ends = [below + (above - below) * part / n_parts for part in range(n_parts + 1)]
        answers = [changes(end) for end in ends[1:-1]] + [True]
        first = answers.index(True)
        below, above = ends[first], ends[first + 1]
    return above, True


@given(
    BOUNDARIES,
    st.lists(st.sampled_from([2, 4]), max_size=3),
    st.integers(0, 4),
    st.integers(0, 40),
)
def test_every_row_is_searched_as_if_it_were_alone(boundaries, divisions, n_growths, stride):
    """Also where the decision changes back and forth along the way."""
    beyond = torch.tensor(boundaries)
    asked = torch.zeros(len(beyond), dtype=torch.int64)
    n_calls = 0

    def is_enough(step, boundary):
        return (step > boundary) ^ (int(step * 64) % (stride + 2) == 0)

    def changes(rows, steps):
        nonlocal n_calls
        n_calls += 1
        asked.index_add_(0, rows, torch.ones_like(rows))
        pairs = zip(steps.tolist(), beyond[rows].tolist(), strict=True)
        return torch.tensor([is_enough(*pair) for pair in pairs])

    steps, changed = shortest_step(
        changes, len(beyond), CPU, divisions=divisions, n_growths=n_growths
    )
    for row, boundary in enumerate(beyond.tolist()):
        step, found = plain_search(
            lambda s, b=boundary: is_enough(s, b), divisions, n_growths, 2.25
        )
        assert changed[row].item() == found
        assert steps[row].item() == pytest.approx(step)
    assert (asked <= 1 + n_growths + sum(divisions) - len(divisions)).all()
    assert n_calls <= 1 + n_growths + len(divisions)


@given(BOUNDARIES)
def test_quarters_find_the_same_steps_as_halves_in_half_the_calls(boundaries):
    beyond = torch.tensor(boundaries)
    found = {
        divisions: shortest_step(lambda r, s: s > beyond[r], len(beyond), CPU, divisions=divisions)
        for divisions in (HALVES, QUARTERS)
    }
    assert all(map(torch.equal, *found.values()))
    assert len(HALVES) == 2 * len(QUARTERS)


@given(BOUNDARIES)
def test_a_step_that_changes_the_decision_is_one_that_was_asked(boundaries):
    beyond = torch.tensor(boundaries)
    said: dict[tuple[int, float], bool] = {}

    def changes(rows, steps):
        answers = steps > beyond[rows]
        said.update(
            zip(zip(rows.tolist(), steps.tolist(), strict=True), answers.tolist(), strict=True)
        )
        return answers

    steps, changed = shortest_step(changes, len(beyond), CPU)
    for row in changed.nonzero()[:, 0].tolist():
        assert said[row, steps[row].item()]
        assert steps[row] - beyond[row] <= (2.25**2 - 2.25) / 2**6 + 1e-6


@given(BOUNDARIES)
def test_a_step_known_to_change_the_decision_is_not_asked_again(boundaries):
    beyond = torch.tensor(boundaries).clamp(max=0.99)
    asked = []

    def changes(rows, steps):
        asked.extend(steps.tolist())
        return steps > beyond[rows]

    known = shortest_step(changes, len(beyond), CPU, known=True)
    assert 1.0 not in asked
    assert len(asked) == 6 * len(beyond)
    found = shortest_step(changes, len(beyond), CPU)
    assert all(torch.equal(*both) for both in zip(known, found, strict=True))


@given(BOUNDARIES)
def test_a_step_known_not_to_change_the_decision_is_not_asked_again(boundaries):
    beyond = torch.tensor(boundaries).clamp(min=1)
    asked = []

    def changes(rows, steps):
        asked.extend(steps.tolist())
        return steps > beyond[rows]

    known = shortest_step(changes, len(beyond), CPU, known=False)
    assert 1.0 not in asked
    found = shortest_step(changes, len(beyond), CPU)
    assert all(torch.equal(*both) for both in zip(known, found, strict=True))


def test_one_question_asks_once_and_keeps_the_step():
    calls = []

    def changes(rows, steps):
        calls.append((rows.tolist(), steps.tolist()))
        return torch.tensor([True, False])

    steps, changed = shortest_step(changes, 2, CPU, divisions=(), n_growths=0)
    assert calls == [([0, 1], [1.0, 1.0])]
    assert steps.tolist() == [1.0, 1.0]
    assert changed.tolist() == [True, False]
