"""What an explainer asks of a model: counted, and timed apart from the explainer's own work."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from xai_adapters.benchmark.run.bench import wait
from xai_adapters.model.estimators import wrap_method


@dataclass
class Meter:
    """Rows asked of a model, and the seconds it took to answer.

    A gradient's way back through a module is not among the seconds.
    """

    rows: int = 0
    seconds: float = 0.0

    def ask(self, model: Callable[[Any], Any], rows: Any) -> Any:
        """The model's answer."""
        start = time.perf_counter()
        answer = model(rows)
        if isinstance(rows, Tensor):
            wait(rows)
        self.seconds += time.perf_counter() - start
        self.rows += len(rows)
        return answer

    def taken(self) -> Meter:
        """What was counted since the last call, which counting then goes on from."""
        found = copy.copy(self)
        self.rows, self.seconds = 0, 0.0
        return found


def metered(model: Any, meter: Meter) -> Any:
    """The same model, a module, an estimator or a function of rows, that `meter` counts."""
    if isinstance(model, nn.Module):
        return MeteredModule(model, meter).eval()
    if hasattr(model, "predict_proba") or hasattr(model, "predict"):
        return MeteredEstimator(model, meter)
    return partial(meter.ask, model)


class MeteredModule(nn.Module):
    """A module whose forward calls are counted; the module itself is `module`."""

    def __init__(self, module: nn.Module, meter: Meter) -> None:
        super().__init__()
        self.module, self.meter = module, meter

    def forward(self, rows: Tensor) -> Tensor:
        """What the module answers."""
        outputs: Tensor = self.meter.ask(self.module, rows)
        return outputs


class MeteredEstimator:
    """An estimator whose answers are counted; the estimator itself is `estimator`."""

    def __init__(self, estimator: Any, meter: Meter) -> None:
        self.estimator, self.meter = estimator, meter

    def __getattr__(self, name: str) -> Any:
        """What the estimator has; its methods that answer are counted."""
        if name.startswith("__") or name == "estimator":
            raise AttributeError(name)
        return wrap_method(self.meter.ask, name, getattr(self.estimator, name))
