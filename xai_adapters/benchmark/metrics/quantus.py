"""Metrics of Quantus, by "quantus:NAME"."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from xai_adapters.benchmark.metrics.facts import Metric
from xai_adapters.benchmark.metrics.measures import Scored, Values
from xai_adapters.errors import NotApplicableError, UnknownNameError, require

QUANTUS = "quantus:"


def measure_by_quantus(scored: Scored, name: str) -> Values:
    """A metric of Quantus, with its own settings.

    Raises:
        NotApplicableError: if the model is no torch module, which Quantus asks for.
    """
    quantus = require("quantus", "quantus")
    if not scored.task.differentiable:
        raise NotApplicableError("Quantus measures torch modules only")
    metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False)
    found = metric(
        model=scored.task.model,
        x_batch=scored.rows.cpu().numpy(),
        y_batch=scored.classes.cpu().numpy(),
        a_batch=scored.scores.cpu().numpy(),
        device=str(scored.rows.device),
    )
    # Some give several values a row, one for each step of theirs.
    return {QUANTUS + name: torch.tensor([float(np.mean(each)) for each in found])}


def quantus_metric(name: str) -> Metric:
    """Facts on "quantus:Name".

    Raises:
        MissingDependencyError: if Quantus is not installed.
        UnknownNameError: if it has no such metric.
    """
    quantus: Any = require("quantus", "quantus")
    plain = name.removeprefix(QUANTUS)
    metric = getattr(quantus, plain, None)
    if metric is None:
        known = {each for group in quantus.AVAILABLE_METRICS.values() for each in group}
        raise UnknownNameError("metric of Quantus", plain, known)
    direction = getattr(getattr(metric, "score_direction", None), "value", None)
    return Metric(
        name,
        " ".join((metric.__doc__ or "").partition("\n\n")[0].split()),
        {"higher": True, "lower": False}.get(str(direction)),
        "attribution",
        range=(None, None),
        source="Hedström et al. 2023 (Quantus)",
    )
