from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.errors import InvalidInputError
from xai_adapters.model.outputs import (
    are_probabilities,
    check_output_type,
    class_logits,
    class_probabilities,
)

INTEGERS = st.integers(-4, 4).map(float)
SHARES = st.integers(0, 16).map(lambda n: n / 16)
ROWS_OF_LOGITS = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.lists(INTEGERS, min_size=k, max_size=k), min_size=1, max_size=4)
)
ROWS_OF_PROBABILITIES = st.lists(
    st.tuples(SHARES, SHARES).map(lambda ab: [ab[0] * ab[1], ab[0] * (1 - ab[1]), 1 - ab[0]]),
    min_size=1,
    max_size=4,
)


def flags(n: int, value: bool) -> torch.Tensor:
    return torch.full((n,), value)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@given(ROWS_OF_LOGITS)
def test_logits_are_read_through_the_softmax(logits):
    outputs = torch.tensor(logits, dtype=torch.float64)
    plain = [[math.exp(z) / sum(math.exp(y) for y in row) for z in row] for row in logits]
    read = class_probabilities(outputs, flags(len(logits), False))
    assert read.tolist() == [pytest.approx(row) for row in plain]


@given(ROWS_OF_PROBABILITIES)
def test_probabilities_are_recognised_and_kept(rows):
    outputs = torch.tensor(rows, dtype=torch.float64)
    assert are_probabilities(outputs).all()
    assert torch.equal(class_probabilities(outputs, flags(len(rows), True)), outputs)


@given(ROWS_OF_LOGITS)
def test_rows_of_numbers_count_as_probabilities_only_in_range_and_adding_up_to_1(rows):
    plain = [all(0 <= z <= 1 for z in row) and sum(row) == 1 for row in rows]
    assert are_probabilities(torch.tensor(rows)).tolist() == plain


def test_each_row_is_judged_alone():
    outputs = torch.tensor([[0.25, 0.75], [3.0, -1.0], [0.5, 0.6]])
    assert are_probabilities(outputs).tolist() == [True, False, False]
    mixed = class_probabilities(outputs, are_probabilities(outputs))
    alone = [class_probabilities(row[None], are_probabilities(row[None]))[0] for row in outputs]
    assert torch.equal(mixed, torch.stack(alone))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_softmax_counts_as_probabilities_in_every_precision(dtype):
    logits = torch.arange(1000.0, dtype=torch.float64).view(200, 5).sin() * 3
    assert are_probabilities(logits.softmax(dim=1).to(dtype)).all()


@given(st.lists(INTEGERS, min_size=1, max_size=4), INTEGERS)
def test_one_logit_is_a_decision_at_its_threshold(scores, threshold):
    outputs = torch.tensor(scores, dtype=torch.float64)[:, None]
    read = class_probabilities(outputs, flags(len(scores), False), threshold)
    assert read[:, 1].tolist() == pytest.approx([sigmoid(z - threshold) for z in scores])
    assert read.argmax(dim=1).tolist() == [int(z > threshold) for z in scores]


@given(
    st.lists(st.integers(1, 15).map(lambda n: n / 16), min_size=1, max_size=4),
    st.integers(1, 15).map(lambda n: n / 16),
)
def test_one_probability_is_a_decision_at_its_threshold(scores, threshold):
    outputs = torch.tensor(scores, dtype=torch.float64)[:, None]
    read = class_probabilities(outputs, flags(len(scores), True), threshold)
    odds = [p * (1 - threshold) / ((1 - p) * threshold) for p in scores]
    assert read[:, 1].tolist() == pytest.approx([o / (1 + o) for o in odds])
    assert read.argmax(dim=1).tolist() == [int(p > threshold) for p in scores]


def test_without_a_threshold_a_probability_stands_for_itself_and_a_logit_for_its_sigmoid():
    outputs = torch.tensor([[0.25], [0.25]], dtype=torch.float64)
    read = class_probabilities(outputs, torch.tensor([True, False]))
    assert read[:, 1].tolist() == pytest.approx([0.25, sigmoid(0.25)])
    assert read.sum(dim=1).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("read", [class_probabilities, class_logits])
@pytest.mark.parametrize("threshold", [None, 0.25])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("is_probability", [True, False])
def test_one_reading_for_all_rows_is_that_of_each(read, threshold, n_outputs, is_probability):
    outputs = torch.rand(5, n_outputs, generator=torch.Generator().manual_seed(0))
    of_each = read(outputs, flags(5, is_probability), threshold)
    assert torch.equal(read(outputs, is_probability, threshold), of_each)
    # What a row is read as does not depend on rows that are read as the other.
    mixed = torch.tensor([is_probability, not is_probability] * 2 + [is_probability])
    assert torch.equal(read(outputs, mixed, threshold)[mixed == is_probability], of_each[::2])


def test_certain_answers_stay_finite_under_a_threshold():
    read = class_probabilities(torch.tensor([[0.0], [1.0]]), flags(2, True), threshold=0.3)
    assert read.isfinite().all()
    assert read.argmax(dim=1).tolist() == [0, 1]


def test_an_unknown_kind_of_output_is_named():
    message = "^output_type must be one of 'auto', 'probabilities', 'logits', is 'log-odds'$"
    with pytest.raises(InvalidInputError, match=message):
        check_output_type("log-odds")
