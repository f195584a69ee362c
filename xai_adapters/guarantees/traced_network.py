"""A network as a list of layers that can be bounded."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import fx, nn

from xai_adapters.errors import NotApplicableError
from xai_adapters.guarantees.bounded_layers import Layer, Precision
from xai_adapters.guarantees.known_layers import FUNCTIONS, MODULES, UnsupportedSettingError

Ending = Literal["none", "softmax", "log_softmax", "sigmoid"]


@dataclass(frozen=True)
class Step:
    """A layer, its path in the network, and the numbers of the steps that feed it.

    Step 0 is the network's input, which has no layer.
    """

    layer: Layer
    path: str
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class TracedNetwork:
    """A network's layers in the order in which they are computed; the last one is the output.

    Attributes:
        steps: step number i is `steps[i - 1]`.
        ending: the function behind the last step, which keeps the order of the classes.
    """

    steps: tuple[Step, ...]
    ending: Ending


def trace(network: nn.Module, dtype: torch.dtype) -> TracedNetwork:
    """Follow a network layer by layer, as it computes in eval mode on rows of type `dtype`.

    Supported are Linear, Conv2d, BatchNorm1d and 2d, ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d,
    Flatten, Identity, Dropout and Dropout2d, nested in any way, with sums and concatenations
    between them; relu, flatten, contiguous, mean, add and cat also as functions; and Softmax,
    LogSoftmax or Sigmoid at the end.

    Raises:
        NotApplicableError: for a layer that is not supported, which is named, or a network that
            cannot be traced.

    Example:
        >>> steps = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.float32).steps
        >>> [(step.path, type(step.layer).__name__, step.inputs) for step in steps]
        [('0', 'Affine', (0,)), ('1', 'Relu', (1,))]
    """
    # The tracer would look inside a layer that is the whole network.
    root = nn.Sequential(network) if type(network) in MODULES else network
    try:
        graph = _Tracer().trace(root)
    except Exception as error:
        raise NotApplicableError(
            f"cannot be certified: the forward of {type(network).__name__} cannot be traced "
            f"layer by layer ({type(error).__name__}: {error})"
        ) from error
    precision = Precision.of(dtype)
    numbers: dict[fx.Node, int] = {}
    steps: list[Step] = []
    ending: Ending = "none"
    for node in graph.nodes:
        if node.op == "placeholder":
            if numbers:
                raise NotApplicableError("cannot be certified: forward has several arguments")
            numbers[node] = 0
        elif node.op == "output":
            if not isinstance(node.args[0], fx.Node) or not steps:
                raise NotApplicableError(
                    "cannot be certified: its forward must return one tensor made by its layers"
                )
            steps = steps[: numbers[node.args[0]]]
        elif ending == "none" and (ending := _ending(node, root)) != "none":
            if [user.op for user in node.users] != ["output"]:
                raise _unknown(node, root, "it is supported only at the end")
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
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)


def _layer(node: fx.Node, root: nn.Module, precision: Precision) -> Layer:
    try:
        if _in_place(node, root) and len(node.all_input_nodes[0].users) > 1:
            raise UnsupportedSettingError("it changes in place a tensor that is used elsewhere")
        if node.op == "call_module":
            module = root.get_submodule(str(node.target))
            return MODULES[type(module)](module, precision)
        if node.op == "get_attr":
            raise UnsupportedSettingError("only tensors that belong to a layer are supported")
        make = FUNCTIONS[node.target]
        # Tensors are the steps that feed this one; the other arguments are its settings.
        given = [each for each in node.args if not isinstance(each, (fx.Node, list, tuple))]
        shapes = [each for each in node.args[1:] if isinstance(each, (list, tuple))]
        return make(precision, *given, *shapes, **node.kwargs)
    except KeyError:
        raise _unknown(node, root) from None
    except (UnsupportedSettingError, TypeError) as error:
        raise _unknown(node, root, str(error)) from error


def _in_place(node: fx.Node, root: nn.Module) -> bool:
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    return node.target is operator.iadd or bool(node.kwargs.get("inplace", False))


def _inputs(node: fx.Node) -> list[fx.Node]:
    """The nodes that feed a node, in order and with repetitions (x + x has two)."""
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
