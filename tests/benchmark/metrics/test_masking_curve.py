"""Masking, insertion and deletion against masking image by image."""

from __future__ import annotations

from dataclasses import replace

import benchmark_toys as toys
import numpy as np
import pytest
import torch
from attribution_cases import attributions
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xai_adapters.benchmark.metrics import THRESHOLDS, relevance_ranks
from xai_adapters.benchmark.metrics.masking_curve import ChangedAt, MaskingArea, MaskingCurve
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.registry import ExplainerEntry, FunctionExplainer

FLAGS = st.lists(st.booleans(), min_size=len(THRESHOLDS), max_size=len(THRESHOLDS))


def test_insertion_and_deletion_uncover_and_cover_the_relevant_pixels_first() -> None:
    def explain(rows: Tensor, target: Tensor) -> Tensor:
        return torch.arange(16.0).view(1, 1, 4, 4).expand_as(rows)

    task = toys.task()
    entry = ExplainerEntry("known", "", lambda _: FunctionExplainer(explain))
    results = run_benchmark(task, [entry], metrics=("masking", "deletion"), fills=("black",))
    ask = attributions(task, task.rows)
    ranks = relevance_ranks(explain(task.rows, task.rows), by_magnitude=False)
    values = {
        (line["metric"], line["row"], line["threshold"]): line["value"] for line in results.rows
    }
    for fill, suffix in ((0.5, ""), (0.0, "[black]")):
        for i, row in enumerate(task.rows):
            inserted, deleted = [], []
            for share in THRESHOLDS:
                n = 16 - round((1 - share) * 16)
                shown = (ranks[i] >= 16 - n).view(1, 4, 4)
                n_gone = round(share * 16)
                gone = (ranks[i] >= 16 - n_gone).view(1, 4, 4)
                for answers, seen in ((inserted, shown), (deleted, ~gone)):
                    masked = torch.where(seen, row, fill)[None]
                    answers.append(ask.probability(masked, ask.classes[i : i + 1]).item())
                assert values[f"insertion_curve{suffix}", i, share] == pytest.approx(inserted[-1])
                assert values[f"deletion_curve{suffix}", i, share] == pytest.approx(deleted[-1])
            for metric, answers in (("insertion", inserted), ("deletion", deleted)):
                area = np.trapezoid if hasattr(np, "trapezoid") else np.trapz  # noqa: NPY201
                assert values[f"{metric}_area{suffix}", i, None] == pytest.approx(
                    area(answers, THRESHOLDS), abs=1e-6
                )
    assert results.metrics["masking_area[black]"]["title"] == "masking area, black"


@given(st.lists(FLAGS, min_size=1, max_size=4))
def test_the_metrics_of_masking_read_the_curve(curves: list[list[bool]]) -> None:
    """The model's answers are planted: class 0 where the flag says that the class stays."""
    flags = torch.tensor(curves)
    given = attributions(toys.task(), toys.task().rows[: len(curves)])
    given = replace(given, classes=torch.zeros(len(curves), dtype=torch.int64))
    given._shared["_least_relevant_masked"] = torch.stack((~flags, flags), dim=2).double()
    area = MaskingArea().compute(given)
    at = [ChangedAt(share).compute(given) for share in (0.3, 0.5, 0.7)]
    assert torch.equal(MaskingCurve().compute(given), flags.double())
    for i, row in enumerate(curves):
        strips = [(row[j] + row[j + 1]) / 2 * 0.05 for j in range(20)]
        assert area[i].item() == pytest.approx(sum(strips))
        assert [each[i].item() for each in at] == [row[6], row[10], row[14]]
