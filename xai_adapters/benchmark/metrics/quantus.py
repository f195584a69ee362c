"""Metrics of Quantus, selected as "quantus:Name"."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import AttributionMetric, Attributions
from xai_adapters.errors import NotApplicableError, UnknownNameError, require

QUANTUS = "quantus:"


class QuantusMetric(AttributionMetric):
    """A metric of Quantus, with its default settings.

    Args:
        name: such as "quantus:Sparseness".

    Raises:
        MissingDependencyError: if Quantus is not installed.
        UnknownNameError: if it has no such metric.
    """

    range = (None, None)
    source = "Hedström et al. 2023 (Quantus)"

    def __init__(self, name: str) -> None:
        self.name = self.title = name
        quantus: Any = require("quantus", "quantus")
        metric = getattr(quantus, self._plain_name, None)
        if metric is None:
            known = {each for group in quantus.AVAILABLE_METRICS.values() for each in group}
            raise UnknownNameError("metric of Quantus", self._plain_name, known)
        self.description = " ".join((metric.__doc__ or "").partition("\n\n")[0].split())
        direction = getattr(getattr(metric, "score_direction", None), "value", None)
        self.higher_is_better = {"higher": True, "lower": False}.get(str(direction))

    @property
    def _plain_name(self) -> str:
        return self.name.removeprefix(QUANTUS)

    def compute(self, attributions: Attributions) -> Tensor:
        """(n,).

        Raises:
            NotApplicableError: if the model is not a torch module.
        """
        quantus = require("quantus", "quantus")
        if not attributions.task.differentiable:
            raise NotApplicableError("Quantus measures torch modules only")
        metric = getattr(quantus, self._plain_name)(
            disable_warnings=True, display_progressbar=False
        )
        values = metric(
            model=attributions.task.model,
            x_batch=attributions.rows.cpu().numpy(),
            y_batch=attributions.classes.cpu().numpy(),
            a_batch=attributions.scores.cpu().numpy(),
            device=str(attributions.rows.device),
        )
        # Some return several values a row, one for each step of theirs.
        return torch.tensor([float(np.mean(each)) for each in values])
