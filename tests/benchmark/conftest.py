from __future__ import annotations

import math

import pytest
import torch

from xai_adapters.benchmark.results.gallery import Gallery
from xai_adapters.benchmark.results.results import (
    Curve,
    ExplainerRun,
    Measurement,
    Results,
)

HOSTILE = "ValueError: <script>console.error('planted')</script> | and a pipe"
ROLES = {"fimap": "ours", "greedy": "upper bound", "random": "chance"}
AREAS = {"fimap": 0.2, "saliency": 0.1, "lime": math.nan, "greedy": 0.05, "random": 0.4}


@pytest.fixture
def results() -> Results:
    """A small run on images with all that goes wrong: an error, no value, not applicable."""
    made = Results(
        task={
            "name": "toy",
            "description": "A toy.",
            "mask_value": 0.5,
            "facts": {"accuracy": 0.9},
        },
        settings={"seed": 0, "thresholds": [0.0, 0.5, 1.0]},
        environment={"python": "3.11", "memory": None},
        metrics={
            "area": {
                "title": "masking area",
                "description": "Area under the curve.",
                "higher_is_better": False,
                "unit": "",
            },
            "agreement": {
                "title": "agreement",
                "description": "Cosine.",
                "higher_is_better": True,
                "unit": "cos",
            },
        },
        gallery=Gallery(rows=torch.rand(2, 1, 4, 4), titles=["a <b>3</b>", "an 8"]),
    )
    for i, (name, area) in enumerate(AREAS.items()):
        run = ExplainerRun(name, "", "mask" if name == "greedy" else "none", "ok")
        run.role = ROLES.get(name, "comparator")
        run.explain_seconds, run.n_rows, run.matches_mask = 0.5 * (i + 1), 10, name == "greedy"
        made.explainers.append(run)
        made.measurements += [
            Measurement(name, "area", area, 0.01, area - 0.02, area + 0.02, 10),
            Measurement(name, "agreement", 0.3, 0.1, 0.1, 0.5, 10),
        ]
        values = [0.0, area, 1.0]
        made.curves.append(Curve(name, "area", [0.0, 0.5, 1.0], values, values, values))
        made.gallery.maps[name] = torch.randn(2, 4, 4)
        made.gallery.signed[name] = name != "saliency"
    made.explainers.append(ExplainerRun("lrp", "", "none", "error", HOSTILE))
    made.explainers.append(ExplainerRun("shap_tree", "", "none", "not applicable", "no <trees>"))
    return made


@pytest.fixture
def table_results(results: Results) -> Results:
    """The same run on rows of three features, without curves."""
    results.curves = []
    results.task["feature_names"] = ("age", "income", "<b>debt</b>")
    results.gallery.rows = torch.randn(2, 3)
    results.gallery.maps = {name: torch.randn(2, 3) for name in results.gallery.maps}
    return results
