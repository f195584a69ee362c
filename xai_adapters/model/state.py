"""Query a model without leaving a trace on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from xai_adapters.model.random_state import kept_random_state


@contextmanager
def left_as_found(model: Callable[..., Any], device: torch.device | None = None) -> Iterator[None]:
    """Put a model in eval mode and give it, and the global random state, back as they were.

    In train mode a query would move batch-norm buffers, and answers would depend on the batch.
    Modules hidden in a closure cannot be found; a module, a bound method of one, or a partial of
    these, can.

    Args:
        model: a module, a bound method of one, a partial of these, or any other callable.
        device: the device of the rows, whose random state is kept beside the CPU's.

    Example:
        >>> net = nn.Dropout()
        >>> with left_as_found(net):
        ...     net(torch.ones(3)).tolist()
        [1.0, 1.0, 1.0]
        >>> net.training
        True
    """
    while isinstance(model, partial):
        model = model.func
    owner = model if isinstance(model, nn.Module) else getattr(model, "__self__", None)
    modules = list(owner.modules()) if isinstance(owner, nn.Module) else []
    training = [module for module in modules if module.training]
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in modules)
    # cuDNN refuses the backward pass of a recurrent network in eval mode.
    without_cudnn = torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext()
    # A model may draw random numbers even in eval mode.
    with kept_random_state(device), without_cudnn:
        try:
            # Not eval(): a subclass may have given train() further duties.
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True
