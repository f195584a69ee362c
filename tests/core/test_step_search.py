import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.core.step_search import shortest_step

CPU = torch.device("cpu")
# Where a row's decision changes, in units of its direction; the longest step asked is 2.25^2.
BOUNDARIES = st.lists(st.integers(0, 600).map(lambda k: k / 100), min_size=1, max_size=5)


def plain_search(changes, n_halvings, n_growths, growth):
    """One row's search, written plainly."""
    below, above = 0.0, 1.0
    for _ in range(n_growths + 1):
        if changes(above):
            break
        below, above = above, above * growth
    else:
        return 1.0, False
    for _ in range(n_halvings):
        middle = (below + above) / 2
        if changes(middle):
            above = middle
        else:
            below = middle
    return above, True


@given(BOUNDARIES, st.integers(0, 6), st.integers(0, 4))
def test_every_row_is_searched_as_if_it_were_alone(boundaries, n_halvings, n_growths):
    beyond = torch.tensor(boundaries)
    asked = torch.zeros(len(beyond), dtype=torch.int64)

    def changes(rows, steps):
        asked[rows] += 1
        return steps > beyond[rows]

    steps, changed = shortest_step(
        changes, len(beyond), CPU, n_halvings=n_halvings, n_growths=n_growths
    )
    for row, boundary in enumerate(beyond.tolist()):
        step, found = plain_search(lambda s, b=boundary: s > b, n_halvings, n_growths, 2.25)
        assert changed[row].item() == found
        assert steps[row].item() == pytest.approx(step)
    assert (asked <= 1 + n_growths + n_halvings).all()


@given(BOUNDARIES, st.sampled_from([0, 2, 4, 6]), st.integers(0, 40))
def test_looking_ahead_finds_the_same_steps_in_half_the_calls(boundaries, n_halvings, stride):
    """Also where the decision changes back and forth along the way."""
    beyond = torch.tensor(boundaries)
    sizes = []

    def changes(rows, steps):
        sizes.append(len(rows))
        return (steps > beyond[rows]) ^ ((steps * 64).long() % (stride + 2) == 0)

    def search(looks_ahead):
        sizes.clear()
        found = shortest_step(
            changes, len(beyond), CPU, n_halvings=n_halvings, n_growths=0, looks_ahead=looks_ahead
        )
        return found, len(sizes) - 1, sum(sizes) - len(beyond)

    one_by_one, n_calls, n_asked = search(False)
    ahead, fewer_calls, more_asked = search(True)
    assert all(torch.equal(*both) for both in zip(one_by_one, ahead, strict=True))
    assert (2 * fewer_calls, 2 * more_asked) == (n_calls, 3 * n_asked)


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


def test_one_question_asks_once_and_keeps_the_step():
    calls = []

    def changes(rows, steps):
        calls.append((rows.tolist(), steps.tolist()))
        return torch.tensor([True, False])

    steps, changed = shortest_step(changes, 2, CPU, n_halvings=0, n_growths=0)
    assert calls == [([0, 1], [1.0, 1.0])]
    assert steps.tolist() == [1.0, 1.0]
    assert changed.tolist() == [True, False]
