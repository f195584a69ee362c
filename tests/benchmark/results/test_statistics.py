"""Which means differ beyond noise, against slow and plain second implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xai_adapters.benchmark.results.ranking import rank_explainers
from xai_adapters.benchmark.results.statistics import (
    bootstrap_interval,
    difference,
    holm,
    paired_p_value,
    ranks,
    standard_error,
    unpaired_p_value,
)

INTEGERS = st.lists(st.integers(-4, 4), min_size=1, max_size=9)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def every_sign_flipped(differences: np.ndarray) -> float:
    """The share of all ways to flip the signs with a sum at least as far from 0."""
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    return float((abs(signs @ differences) >= abs(differences.sum()) - 1e-9).mean())


@given(INTEGERS)
@example([1] * 5)
def test_a_small_p_value_is_at_most_half_the_exact_one(drawn: list[int]) -> None:
    differences = np.array(drawn, dtype=float)
    exact, found = every_sign_flipped(differences), paired_p_value(differences)
    assert 0 < found <= 1
    if exact < 0.1:
        assert found > 0.45 * exact
    assert found == paired_p_value(-differences) == paired_p_value(8 * differences)


def test_noise_is_called_a_difference_as_rarely_as_it_says() -> None:
    generator = np.random.default_rng(0)
    for draw in (generator.normal, lambda size: generator.integers(-1, 2, size).astype(float)):
        p_values = [paired_p_value(draw(size=30)) for _ in range(2000)]
        assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.065
    shifted = [paired_p_value(generator.normal(size=30) + 1) for _ in range(200)]
    assert np.mean(np.array(shifted) < 0.05) > 0.98


def test_rounding_is_no_difference() -> None:
    values = np.random.default_rng(0).normal(size=100)
    assert paired_p_value((values + 0.1) - 0.1 - values) == 1


def test_unpaired_means() -> None:
    assert unpaired_p_value(1.96, (0.6, 0.8)) == pytest.approx(0.05, abs=1e-3)
    assert unpaired_p_value(1.0, (float("nan"), 0.1)) == unpaired_p_value(1.0, (0, 0)) == 1


@given(P_VALUES)
def test_holms_method_step_by_step(p_values: list[float]) -> None:
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        left = sorted(range(len(p_values)), key=lambda i: p_values[i])
        while left and p_values[left[0]] * len(left) <= level:
            rejected.add(left.pop(0))
        found = {i for i, p in enumerate(holm(p_values)) if p <= level}
        assert found == rejected


@given(st.data())
def test_ranks_count_who_is_better_beyond_noise(data: st.DataObject) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 5)))
    levels = data.draw(st.lists(st.sampled_from([0.0, 0.2, 5.0, 9.0]), min_size=2, max_size=5))
    noise = generator.normal(size=40)
    values = {f"e{i}": level + noise + generator.normal(size=40) for i, level in enumerate(levels)}
    values["e0"][data.draw(st.integers(0, 39))] = np.nan
    found = ranks(values, higher_is_better=True)
    for (name, (best, worst)), level in zip(found.items(), levels, strict=True):
        # Levels of 0 and 0.2 may be told apart or not; all others are.
        near = {0.0, 0.2} if level <= 0.2 else {level}
        assert 1 + sum(other > level for other in levels if other not in near) <= best
        assert best <= 1 + sum(other >= level for other in levels) - (level in levels)
        assert worst <= len(levels) - sum(other < level for other in levels if other not in near)
        assert best <= worst
        assert name in values
    mirrored = ranks({name: -each for name, each in values.items()}, higher_is_better=False)
    assert mirrored == found


def test_differences_are_of_the_rows_that_both_have() -> None:
    first = np.array([1.0, 2.0, np.nan, 4.0, 100.0])
    second = np.array([0.0, 1.0, 5.0, 3.0])
    assert difference(first, second) == (1, 1, 1)
    assert np.isnan(difference(first[2:3], second)).all()


def test_the_ranking_leaves_reference_explainers_out_and_says_how_far_behind(
    results,
) -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=40) / 50
    areas = {"fimap": 0.3, "saliency": 0.1, "lime": 0.11, "greedy": 0.0, "random": 0.5}
    results.rows = [
        {"explainer": name, "metric": "area", "row": row, "threshold": None, "value": value}
        for name, area in areas.items()
        for row, value in enumerate((area + noise * (1 + len(name) / 10)).tolist())
    ]
    results.measurements = [m for m in results.measurements if m.metric == "area"]
    for measurement in results.measurements:
        measurement.value = areas[measurement.explainer]
    rank_explainers(results)
    found = {m.explainer: m for m in results.measurements}
    assert {name: m.rank for name, m in found.items()} == {
        "fimap": (3, 3), "saliency": (1, 1), "lime": (2, 2), "greedy": None, "random": None,
    }  # fmt: skip
    assert found["saliency"].behind is None
    assert found["fimap"].behind["leader"] == "saliency"
    low, high = found["fimap"].behind["interval"]
    assert low < 0.2 < high
    assert high - low < 0.02


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(40, 300))
    low, high = bootstrap_interval(samples)
    covered = ((low < 0) & (high > 0)).mean()
    assert 0.9 < covered < 0.98
    spread = np.array([standard_error(samples[:, i]) for i in range(300)])
    assert np.median((high - low) / spread) == pytest.approx(2 * 1.96, rel=0.1)


def test_bootstrap_pairs_columns_measured_on_the_same_rows():
    values = np.random.default_rng(0).normal(size=(30, 1))
    low, high = bootstrap_interval(np.hstack((values, values + 1)))
    assert low[1] - low[0] == pytest.approx(1)
    assert high[1] - high[0] == pytest.approx(1)


def test_a_single_row_has_no_standard_error():
    assert np.isnan(standard_error(np.array([1.0])))
