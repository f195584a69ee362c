from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.benchmark.metrics.counterfactual_quality import Reference, quality
from xai_adapters.benchmark.metrics.facts import (
    COMMON,
    COMPARED_IN_COMMON,
    METRICS,
    cosine,
    counterfactual_metrics,
    masking_metrics,
)
from xai_adapters.benchmark.metrics.masking_curve import THRESHOLDS
from xai_adapters.benchmark.metrics.measures import MEASURES
from xai_adapters.benchmark.results.statistics import bootstrap_interval, standard_error
from xai_adapters.features.kinds import Categorical, Continuous
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import Perturbation

FLAGS = st.lists(st.booleans(), min_size=len(THRESHOLDS), max_size=len(THRESHOLDS))


@given(st.lists(FLAGS, min_size=1, max_size=4))
def test_masking_metrics_read_the_curve(curves: list[list[bool]]):
    found = masking_metrics(torch.tensor(curves))
    assert set(found) == {"masking_area", "changed_30", "changed_50", "changed_70"}
    for i, flags in enumerate(curves):
        strips = [(flags[j] + flags[j + 1]) / 2 * 0.05 for j in range(20)]
        assert found["masking_area"][i].item() == pytest.approx(sum(strips))
        assert found["changed_30"][i].item() == flags[6]
        assert found["changed_50"][i].item() == flags[10]
        assert found["changed_70"][i].item() == flags[14]


def test_every_recorded_metric_has_its_facts():
    recorded = {metric for each in MEASURES.values() for metric in each.metrics}
    assert recorded > set(masking_metrics(torch.zeros(1, 21)))
    recorded |= {"cosine_to_lime", "seed_stability"}
    recorded |= set(counterfactual_metrics(_perturbation(), torch.tensor([0]), torch.tensor([1])))
    recorded |= set(quality(*_one_row())) | {name + COMMON for name in COMPARED_IN_COMMON}
    assert recorded == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is_computed_from_and_where_it_comes_from(name: str):
    facts = METRICS[name]
    assert facts.title
    assert facts.description.endswith(".")
    assert facts.inputs
    assert facts.source
    low, high = facts.range
    assert low is None or high is None or low < high


def _one_row() -> tuple[Any, ...]:
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    schema = FeatureSchema([Continuous("a", 0), Categorical("b", (0, 1), (1,), one_hot=False)])
    reference = Reference(schema, rows, torch.tensor([0, 1]))
    return reference, rows[:1], rows[1:], torch.tensor([0]), lambda some: (some[:, 0] > 0.5).long()


def test_cosine_of_parallel_opposite_and_empty_scores():
    scores = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    reference = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [1.0, 0.0]])
    assert cosine(scores, reference).tolist() == pytest.approx([1, -1, 0])


def test_validity_is_the_black_boxs_word_and_not_the_surrogates():
    found = counterfactual_metrics(_perturbation(), torch.tensor([0]), torch.tensor([0]))
    assert {name: value.item() for name, value in found.items()} == {
        "validity": 0.0,
        "adversarial_accuracy": 1.0,
        "recovery_accuracy": 1.0,
    }


def _perturbation() -> Perturbation:
    row = torch.zeros(1, 2)
    return Perturbation(
        original=row,
        perturbed=row + 1,
        original_class=torch.tensor([0]),
        target=torch.tensor([1]),
        success=None,
        queries=0,
        _length=lambda: (row + 1).norm(dim=1),
        _surrogate_class=lambda rows: (rows[:, 0] > 0.5).long(),
    )


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
