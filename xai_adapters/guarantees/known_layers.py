"""Which torch modules and functions can be bounded, and how each becomes a bounded layer."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xai_adapters.errors import NotApplicableError
from xai_adapters.guarantees.bounded_layers import (
    DOUBLE,
    Add,
    Affine,
    Concatenate,
    Layer,
    MaxPool,
    Precision,
    Relu,
)


class UnsupportedSettingError(Exception):
    """A layer of a known type with a setting for which no bounds are known."""


def _linear(module: nn.Linear, precision: Precision) -> Layer:
    weight = module.weight.detach().to(DOUBLE)
    return Affine(
        partial(functional.linear, weight=weight),
        partial(functional.linear, weight=weight.abs()),
        precision,
        module.in_features,
        module.out_features,
        None if module.bias is None else module.bias.detach().to(DOUBLE)[None],
    )


def _conv(module: nn.Conv2d, precision: Precision) -> Layer:
    if module.padding_mode != "zeros":
        raise UnsupportedSettingError(f"padding_mode={module.padding_mode!r}")
    weight = module.weight.detach().to(DOUBLE)
    settings: dict[str, Any] = {
        name: getattr(module, name) for name in ("stride", "padding", "dilation", "groups")
    }
    return Affine(
        partial(functional.conv2d, weight=weight, **settings),
        partial(functional.conv2d, weight=weight.abs(), **settings),
        precision,
        weight[0].numel(),
        weight[:, 0].numel() // module.groups,
        None if module.bias is None else module.bias.detach().to(DOUBLE).view(1, -1, 1, 1),
    )


def _batch_norm(
    n_dims: int, module: nn.modules.batchnorm._BatchNorm, precision: Precision
) -> Layer:
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None:
        raise UnsupportedSettingError(
            "it keeps no running statistics, so a row's output depends on its batch"
        )
    shape = (1, -1, *(1,) * n_dims)
    scale = (variance.detach().to(DOUBLE) + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight.detach().to(DOUBLE)
    shift = mean.detach().to(DOUBLE) * scale
    bias = torch.zeros_like(shift) if module.bias is None else module.bias.detach().to(DOUBLE)
    scale = scale.view(shape)

    def scaled(by: Tensor, x: Tensor) -> Tensor:
        if x.ndim != len(shape):
            raise NotApplicableError(
                f"cannot be certified: {type(module).__name__} of inputs {tuple(x.shape)}"
            )
        return x * by

    return Affine(
        partial(scaled, scale),
        partial(scaled, scale.abs()),
        precision,
        # Few terms, but with a root and a division among them.
        16,
        bias=(bias - shift).view(shape),
        bias_magnitude=(bias.abs() + shift.abs()).view(shape),
    )


def _average(
    apply: Callable[[Tensor], Tensor],
    fan_in: int | Callable[[torch.Size], int],
    precision: Precision,
) -> Layer:
    # All weights have one sign.
    return Affine(apply, lambda x: apply(x).abs(), precision, fan_in)


def _avg_pool(module: nn.AvgPool2d, precision: Precision) -> Layer:
    return _average(module.forward, math.prod(_pair(module.kernel_size)), precision)


def _adaptive_avg_pool(module: nn.AdaptiveAvgPool2d, precision: Precision) -> Layer:
    return _average(module.forward, lambda shape: math.prod(shape[-2:]), precision)


def _mean(precision: Precision, dim: Any = None, keepdim: bool = False) -> Layer:
    dims = _dims(dim)
    return _average(
        lambda x: x.mean(dims, keepdim),
        lambda shape: math.prod(shape[each] for each in dims),
        precision,
    )


def _dims(dim: Any) -> tuple[int, ...]:
    dims = tuple(dim) if isinstance(dim, (list, tuple)) else (dim,)
    # A negative dimension may be that of the rows, depending on how many dimensions there are.
    if not all(isinstance(each, int) and each > 0 for each in dims):
        raise UnsupportedSettingError(f"dim={dim} may mix rows; give positive dimensions")
    return dims


def _max_pool(module: nn.MaxPool2d, precision: Precision) -> Layer:
    if module.return_indices:
        raise UnsupportedSettingError("return_indices=True")
    kernel, padding, dilation = map(_pair, (module.kernel_size, module.padding, module.dilation))
    stride = _pair(module.stride)

    def shape(height: int, width: int) -> tuple[int, int]:
        out = module.forward(torch.empty(1, 1, height, width, device="meta"))
        return int(out.shape[-2]), int(out.shape[-1])

    def windows(height: int, width: int) -> Tensor:
        along = []
        for axis, (size, n_out) in enumerate(
            zip((height, width), shape(height, width), strict=True)
        ):
            start = torch.arange(n_out)[:, None] * stride[axis] - padding[axis]
            place = start + torch.arange(kernel[axis]) * dilation[axis]
            along.append((place, (place >= 0) & (place < size)))
        (down, seen_down), (across, seen_across) = along
        numbers = down[:, None, :, None] * width + across[None, :, None, :]
        seen = seen_down[:, None, :, None] & seen_across[None, :, None, :]
        return torch.where(seen, numbers, height * width).flatten(2).flatten(0, 1)

    return MaxPool(windows, shape)


def _pair(setting: Any) -> tuple[int, int]:
    return (setting, setting) if isinstance(setting, int) else (int(setting[0]), int(setting[1]))


def _moved(apply: Callable[[Tensor], Tensor], precision: Precision) -> Layer:
    return Affine(apply, apply, precision)


def _flatten(precision: Precision, start_dim: int = 0, end_dim: int = -1) -> Layer:
    _dims(start_dim)
    return _moved(lambda x: x.flatten(start_dim, end_dim), precision)


def _identity(module: nn.Module, precision: Precision) -> Layer:
    return _moved(lambda x: x.view_as(x), precision)


def _contiguous(precision: Precision, memory_format: Any = None) -> Layer:
    return _moved(lambda x: x.view_as(x), precision)


def _relu(precision: Precision, inplace: bool = False) -> Layer:
    return Relu()


def _add(precision: Precision, *given: Any) -> Layer:
    if given:
        raise UnsupportedSettingError("only layers can be added to layers")
    return Add(precision)


def _concatenate(precision: Precision, dim: int = 0) -> Layer:
    return Concatenate(*_dims(dim))


MODULES: dict[type[nn.Module], Callable[[Any, Precision], Layer]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.BatchNorm1d: partial(_batch_norm, 0),
    nn.BatchNorm2d: partial(_batch_norm, 2),
    nn.ReLU: lambda module, precision: Relu(),
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive_avg_pool,
    nn.Flatten: lambda module, precision: _flatten(precision, module.start_dim, module.end_dim),
    nn.Identity: _identity,
    nn.Dropout: _identity,
    nn.Dropout2d: _identity,
}
FUNCTIONS: dict[Any, Callable[..., Layer]] = {
    torch.relu: _relu,
    functional.relu: _relu,
    "relu": _relu,
    torch.flatten: _flatten,
    "flatten": _flatten,
    "contiguous": _contiguous,
    torch.mean: _mean,
    "mean": _mean,
    torch.add: _add,
    operator.add: _add,
    operator.iadd: _add,
    "add": _add,
    torch.cat: _concatenate,
}
