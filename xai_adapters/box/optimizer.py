"""Torch's optimisers for many rows that stop one by one."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError

OptimizerName = Literal["adam", "rmsprop", "sgd"]
ScheduleName = Literal["constant", "sqrt", "linear", "cosine"]
Optimizer = OptimizerName | Callable[..., torch.optim.Optimizer]
Schedule = ScheduleName | Callable[[float], float]


class LeanRMSprop:
    """`torch.optim.RMSprop` for one tensor, without settings and hooks.

    Around a thousand widths torch's own step takes several times as long as its arithmetic, and a
    tenth of all that a search does around a small network.

    Args:
        params: the tensor alone.
        lr: its learning rate.
        alpha: what the mean of squares keeps of itself in a step.
        eps: added to its root.
    """

    def __init__(
        self, params: list[Tensor], lr: float, alpha: float = 0.99, eps: float = 1e-8
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": params, "lr": lr}]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self._alpha, self._eps = alpha, eps

    def step(self, closure: None = None) -> None:
        """Move the values along minus their gradient, element by element."""
        (group,) = self.param_groups
        (values,) = group["params"]
        gradient, state = values.grad, self.state[values]
        if not state:
            state["square_avg"] = torch.zeros_like(values)
        square = state["square_avg"]
        square.mul_(self._alpha).addcmul_(gradient, gradient, value=1 - self._alpha)
        values.addcdiv_(gradient, square.sqrt().add_(self._eps), value=-group["lr"])


# RMSProp takes its mean over the last thirty steps or so: of torch's hundred, a search holds one.
_OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "adam": torch.optim.Adam,
    "rmsprop": partial(LeanRMSprop, alpha=0.97),
    "sgd": torch.optim.SGD,
}
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "sqrt": lambda done: math.sqrt(1 - done),
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


def check_optimizer(optimizer: object) -> None:
    """Raise `InvalidInputError` unless it is an `Optimizer`."""
    _check_named("optimizer", optimizer, get_args(OptimizerName))


def check_schedule(schedule: object) -> None:
    """Raise `InvalidInputError` unless it is a `Schedule`."""
    _check_named("schedule", schedule, get_args(ScheduleName))


def _check_named(option: str, value: object, names: tuple[str, ...]) -> None:
    if not callable(value) and (not isinstance(value, str) or value not in names):
        known = ", ".join(map(repr, names))
        raise InvalidInputError(f"{option} must be one of {known}, or a callable; is {value!r:.60}")


class RowOptimizer:
    """An optimiser of one tensor whose rows do not influence each other.

    Args:
        optimizer: a name, or a class of `torch.optim` (or a partial of one) that works element by
            element.
        values: (n, ...) where it starts; `values` is a copy that is moved in place.
        step_size: its learning rate.
        schedule: a name, or a function of the share of the steps taken, in [0, 1), that gives what
            the learning rate is multiplied by.

    Raises:
        InvalidInputError: for an optimiser that needs a closure.

    Example:
        >>> optimizer = RowOptimizer("sgd", torch.zeros(2, 1), 0.5, "linear")
        >>> optimizer.step(torch.tensor([[1.0], [-2.0]]), done=0.5)
        >>> optimizer.keep(torch.tensor([False, True]))
        >>> optimizer.values.tolist()
        [[0.5]]
    """

    def __init__(
        self, optimizer: Optimizer, values: Tensor, step_size: float, schedule: Schedule
    ) -> None:
        self.values = values.clone()
        make = _OPTIMIZERS[optimizer] if isinstance(optimizer, str) else optimizer
        self._optimizer = make([self.values], lr=step_size)
        self._factor = _SCHEDULES[schedule] if isinstance(schedule, str) else schedule
        self._step_size = step_size
        self._is_checked = False
        (closure,) = inspect.signature(self._optimizer.step).parameters.values()
        if closure.default is inspect.Parameter.empty:
            raise InvalidInputError(
                f"optimizer {type(self._optimizer).__name__} asks for the objective again within "
                "a step; choose one that needs only the gradient, such as torch.optim.Adam"
            )

    def step(self, gradient: Tensor, done: float) -> None:
        """Move the values along minus a gradient (n, ...), a share `done` of the steps taken.

        Raises:
            InvalidInputError: for an optimiser that mixes elements.
        """
        (group,) = self._optimizer.param_groups
        group["lr"] = self._step_size * self._factor(done)
        self.values.grad = gradient
        self._optimizer.step()
        if not self._is_checked:
            self._check()

    def _check(self) -> None:
        self._is_checked = True
        for name, value in self._state().items():
            if value.shape != self.values.shape:
                raise InvalidInputError(
                    f"optimizer {type(self._optimizer).__name__} keeps a {name} of shape "
                    f"{tuple(value.shape)} for values of shape {tuple(self.values.shape)}, so that "
                    "rows would influence each other; choose one that works element by element"
                )

    def keep(self, kept: Tensor) -> None:
        """Drop the rows that are not among `kept` (n,)."""
        (group,) = self._optimizer.param_groups
        old, new = self.values, self.values[kept]
        state = self._optimizer.state
        state[new] = {**state[old], **{name: value[kept] for name, value in self._state().items()}}
        del state[old]
        group["params"] = [new]
        self.values = new

    def _state(self) -> dict[str, Tensor]:
        """The optimiser's state for each value, by name."""
        state = self._optimizer.state[self.values]
        return {
            name: value for name, value in state.items() if isinstance(value, Tensor) and value.ndim
        }
