"""Count and time an explainer's queries of a model, apart from its own work."""

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
class QueryCounter:
    """Rows a model was queried about, and the seconds it took to answer.

    The backward pass of a gradient is not timed.
    """

    rows: int = 0
    seconds: float = 0.0

    def query(self, model: Callable[[Any], Any], rows: Any) -> Any:
        """The model's answer, counted."""
        start = time.perf_counter()
        answer = model(rows)
        if isinstance(rows, Tensor):
            wait(rows)
        self.seconds += time.perf_counter() - start
        self.rows += len(rows)
        return answer

    def taken(self) -> QueryCounter:
        """The counts since the last call; counting starts again from 0."""
        counts = copy.copy(self)
        self.rows, self.seconds = 0, 0.0
        return counts


def count_queries(model: Any, counter: QueryCounter) -> Any:
    """The same module, estimator or function of rows, with its queries counted."""
    if isinstance(model, nn.Module):
        return CountedModule(model, counter).eval()
    if hasattr(model, "predict_proba") or hasattr(model, "predict"):
        return CountedEstimator(model, counter)
    return partial(counter.query, model)


class CountedModule(nn.Module):
    """A module whose forward calls are counted; the module itself is `module`."""

    def __init__(self, module: nn.Module, counter: QueryCounter) -> None:
        super().__init__()
        self.module, self.counter = module, counter

    def forward(self, rows: Tensor) -> Tensor:
        """The module's outputs."""
        outputs: Tensor = self.counter.query(self.module, rows)
        return outputs


class CountedEstimator:
    """An estimator whose predictions are counted; the estimator itself is `estimator`."""

    def __init__(self, estimator: Any, counter: QueryCounter) -> None:
        self.estimator, self.counter = estimator, counter

    def __getattr__(self, name: str) -> Any:
        """An attribute of the estimator; its methods that predict are counted."""
        if name.startswith("__") or name == "estimator":
            raise AttributeError(name)
        return wrap_method(self.counter.query, name, getattr(self.estimator, name))
