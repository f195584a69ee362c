"""A network as a list of layers that can be bounded."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
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

Ending = Literal["none", "softmax", "log_softmax", "sigmoid"]


@dataclass(frozen=True)
class Step:
    """A layer, where it stands in the network, and the numbers of the steps that feed it.

    Step 0 is the network's input, which has no layer and is in no list.
    """

    layer: Layer
    path: str
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class TracedNetwork:
    """A network's layers in the order in which they are computed; the last one is the output.

    Attributes:
        steps: step number i is `steps[i - 1]`.
        ending: what stood behind the last step: a function that keeps the order of the classes.
    """

    steps: tuple[Step, ...]
    ending: Ending


def trace(network: nn.Module, dtype: torch.dtype) -> TracedNetwork:
    """Follow a network layer by layer, as it computes in eval mode on rows of type `dtype`.

    Known are Linear, Conv2d, BatchNorm1d and 2d, ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d,
    Flatten, Identity and the Dropouts, in any nesting and with sums and concatenations between
    them; relu, flatten, contiguous, mean, add and cat also as functions; and Softmax, LogSoftmax or
    Sigmoid at the end.

    Raises:
        NotApplicableError: naming the layer that is not known, or why the network cannot be
            followed.

    Example:
        >>> steps = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.float32).steps
        >>> [(step.path, type(step.layer).__name__, step.inputs) for step in steps]
        [('0', 'Affine', (0,)), ('1', 'Relu', (1,))]
    """
    # A layer that is the whole network would be looked into.
    root = nn.Sequential(network) if type(network) in _LAYERS else network
    try:
        graph = _Tracer().trace(root)
    except Exception as error:
        raise NotApplicableError(
            f"cannot be certified: the forward of {type(network).__name__} cannot be followed "
            f"layer by layer ({type(error).__name__}: {error})"
        ) from error
    precision = Precision.of(dtype)
    numbers: dict[fx.Node, int] = {}
    steps: list[Step] = []
    ending: Ending = "none"
    for node in graph.nodes:
        if node.op == "placeholder":
            if numbers:
                raise NotApplicableError("cannot be certified: its forward takes several arguments")
            numbers[node] = 0
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node) or not steps:
                raise NotApplicableError(
                    "cannot be certified: its forward must return one tensor made by its layers"
                )
            steps = steps[: numbers[node.args[0]]]
        elif ending == "none" and (ending := _ending(node, root)) != "none":
            if [user.op for user in node.users] != ["output"]:
                raise _unknown(node, root, "bounds are known for it at the end alone")
            numbers[node] = numbers[node.all_input_nodes[0]]
        else:
            layer = _layer(node, root, precision)
            inputs = tuple(numbers[each] for each in _inputs(node))
            steps.append(Step(layer, _path(node), inputs))
            numbers[node] = len(steps)
    return TracedNetwork(tuple(steps), ending)


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # An exact type: a subclass may compute something else.
        return type(m) in _LAYERS or super().is_leaf_module(m, module_qualified_name)


def _layer(node: fx.Node, root: nn.Module, precision: Precision) -> Layer:
    try:
        if _in_place(node, root) and len(node.all_input_nodes[0].users) > 1:
            raise _UnknownFormError("it changes in place what is used elsewhere")
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            return _LAYERS[type(module)](module, precision)
        if node.op == "get_attr":
            raise _UnknownFormError("weights are known inside of layers alone")
        make = _FUNCTIONS[node.target]
        # The tensors are the steps that feed this one; what else is given says what it does.
        given = [each for each in node.args if not isinstance(each, (fx.Node, list, tuple))]
        shapes = [each for each in node.args[1:] if isinstance(each, (list, tuple))]
        return make(precision, *given, *shapes, **node.kwargs)
    except KeyError:
        raise _unknown(node, root) from None
    except (_UnknownFormError, TypeError) as error:
        raise _unknown(node, root, str(error)) from error


def _in_place(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    return node.target is operator.iadd or bool(node.kwargs.get("inplace", False))


def _inputs(node: fx.Node) -> list[fx.Node]:
    """The nodes that feed one, in order and as often as they do (x + x has two)."""
    first = node.args[0] if isinstance(node.args[0], (list, tuple)) else node.args
    return [each for each in first if isinstance(each, fx.Node)]


def _path(node: fx.Node) -> str:
    if node.op in ("call_module", "get_attr"):
        return str(node.target)
    # The module whose forward calls the function.
    stack = list(node.meta.get("nn_module_stack", {}).values())
    inside = f"{stack[-1][0]}." if stack and isinstance(stack[-1], tuple) and stack[-1][0] else ""
    return f"{inside}{node.name}"


def _unknown(node: fx.Node, root: nn.Module, why: str = "") -> NotApplicableError:
    if node.op == "call_module":
        what = type(root.get_submodule(str(node.target))).__name__
    elif node.op == "get_attr":
        what = "a tensor"
    else:
        what = f"{getattr(node.target, '__name__', node.target)}()"
    reason = why or "no bounds are known for it"
    return NotApplicableError(f"cannot be certified: layer '{_path(node)}' ({what}): {reason}")


class _UnknownFormError(Exception):
    """A layer of a known type with settings for which no bounds are known."""


def _ending(node: fx.Node, root: nn.Module) -> Ending:
    if node.op != "call_module":
        return "none"
    module = root.get_submodule(str(node.target))
    if type(module) is nn.Sigmoid:
        return "sigmoid"
    if getattr(module, "dim", None) not in (1, -1):
        return "none"
    endings: dict[type[nn.Module], Ending] = {
        nn.Softmax: "softmax",
        nn.LogSoftmax: "log_softmax",
    }
    return endings.get(type(module), "none")


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
        raise _UnknownFormError(f"padding_mode={module.padding_mode!r}")
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
        raise _UnknownFormError(
            "it has no running statistics, so a row's output depends on its batch"
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
    # Counted from the end it may be the rows' own, depending on how many there are.
    if not all(isinstance(each, int) and each > 0 for each in dims):
        raise _UnknownFormError(f"dim={dim} may mix rows; say which dimension behind that of rows")
    return dims


def _max_pool(module: nn.MaxPool2d, precision: Precision) -> Layer:
    if module.return_indices:
        raise _UnknownFormError("return_indices=True")
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
        raise _UnknownFormError("only layers can be added to layers")
    return Add(precision)


def _concatenate(precision: Precision, dim: int = 0) -> Layer:
    return Concatenate(*_dims(dim))


_LAYERS: dict[type[nn.Module], Callable[[Any, Precision], Layer]] = {
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
_FUNCTIONS: dict[Any, Callable[..., Layer]] = {
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
