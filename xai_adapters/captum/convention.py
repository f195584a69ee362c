"""Captum's calling convention: inputs, targets and extra arguments, as rows and class numbers.

Captum passes a tensor or a tuple of tensors, a target in any of nine forms, and additional
arguments, some of which have one entry per example; the algorithms work on rows (n, d). Captum's
private helpers move between versions; only this file imports them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import torch
from captum._utils.common import (
    _format_additional_forward_args,
    _format_output,
    _format_tensor_into_tuples,
    _is_tuple,
    _run_forward,
    _select_targets,
)
from torch import Tensor

from xai_adapters.errors import InvalidInputError, PredictorError
from xai_adapters.model.answers import class_outputs
from xai_adapters.model.inputs import ask_with_copies
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.rows import require_finite


@dataclass(frozen=True)
class Layout:
    """Shapes and dtypes of inputs, which are flattened to rows (n, d) and restored."""

    shapes: list[torch.Size]
    dtypes: list[torch.dtype]
    is_tuple: bool

    @classmethod
    def of(cls, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Layout, Tensor]:
        """The layout of `inputs`, and their rows (n, d)."""
        tensors = _format_tensor_into_tuples(inputs)
        n_rows = len(tensors[0])
        for number, tensor in enumerate(tensors):
            if not tensor.is_floating_point():
                raise InvalidInputError(
                    f"inputs[{number}] is {tensor.dtype}; perturbing it needs floating point "
                    "(for token ids, explain the embeddings)"
                )
            if len(tensor) != n_rows or tensor.numel() == 0:
                raise InvalidInputError(
                    f"inputs[{number}] has shape {tuple(tensor.shape)}; inputs need at least one "
                    f"example, and as many as inputs[0], which has {n_rows}"
                )
        rows = torch.cat([tensor.detach().reshape(n_rows, -1) for tensor in tensors], dim=1)
        require_finite(rows, "inputs")
        layout = cls(
            [tensor.shape[1:] for tensor in tensors],
            [tensor.dtype for tensor in tensors],
            _is_tuple(inputs),
        )
        return layout, rows

    def shaped(self, rows: Tensor) -> Tensor:
        """Rows (m, d) in the shape of a single input, unchanged for a tuple of several."""
        return rows.view(-1, *self.shapes[0]) if self._is_single else rows

    def tensors(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows, flat or `shaped`, as the tensors that `forward_func` takes."""
        if self._is_single:
            # Not flattened before: shaped rows keep their memory format.
            return (rows.reshape(-1, *self.shapes[0]).to(self.dtypes[0]),)
        parts = rows.split([shape.numel() for shape in self.shapes], dim=1)
        return tuple(
            part.reshape(-1, *shape).to(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        )

    def restore(self, rows: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Rows (n, d) in the form of the inputs."""
        tensors = tuple(tensor.contiguous() for tensor in self.tensors(rows))
        return cast("Tensor | tuple[Tensor, ...]", _format_output(self.is_tuple, tensors))

    def flat_row_values(self, values: Any, name: str) -> Tensor:
        """A number, or a tensor for each input, for one example or for each, as (1 or n, d)."""
        if not isinstance(values, tuple) and torch.as_tensor(values).ndim == 0:
            values = (values,) * len(self.shapes)
        tensors = [
            tensor if tensor.ndim > len(shape) else tensor[None]
            for tensor, shape in zip(self._matched(values, name), self.shapes, strict=True)
        ]
        n_rows = max(len(tensor) for tensor in tensors)
        parts = [
            self._expanded(tensor, torch.Size((n_rows, *shape)), name)
            for tensor, shape in zip(tensors, self.shapes, strict=True)
        ]
        return torch.cat([part.reshape(n_rows, -1) for part in parts], dim=1)

    def feature_values(
        self, values: float | Tensor | tuple[Tensor, ...], name: str
    ) -> float | Tensor:
        """A number unchanged, or a value for each feature of one example, `shaped`."""
        if not isinstance(values, tuple) and torch.as_tensor(values).ndim == 0:
            return values
        matched = zip(self._matched(cast(Tensor, values), name), self.shapes, strict=True)
        parts = [self._expanded(value, shape, name).reshape(1, -1) for value, shape in matched]
        return self.shaped(torch.cat(parts, dim=1))[0]

    @property
    def _is_single(self) -> bool:
        return len(self.shapes) == 1 and len(self.shapes[0]) > 0

    def _matched(self, values: Any, name: str) -> tuple[Tensor, ...]:
        tensors = values if isinstance(values, tuple) else (values,)
        if len(tensors) != len(self.shapes):
            raise InvalidInputError(
                f"{name} has {len(tensors)} tensors for {len(self.shapes)} inputs"
            )
        return tuple(torch.as_tensor(tensor) for tensor in tensors)

    @staticmethod
    def _expanded(values: Tensor, shape: torch.Size, name: str) -> Tensor:
        try:
            return values.expand(shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"{name} of shape {tuple(values.shape)} does not fit {tuple(shape)}"
            ) from error


class Forward:
    """A `forward_func` queried with flattened rows, each with its additional arguments."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layout: Layout,
        rows: Tensor,
        additional_forward_args: object,
    ) -> None:
        self._forward_func, self._layout, self._rows = forward_func, layout, rows
        self._arguments = _format_additional_forward_args(additional_forward_args) or ()

    @property
    def has_row_arguments(self) -> bool:
        """Whether an argument has one entry per row, so that no other row can be queried."""
        return any(self._goes_with_rows(argument) for argument in self._arguments)

    def outputs(self, batch_size: int | None = None) -> Tensor:
        """Outputs (n, ...) of the rows; the model is left as it was found."""
        every = torch.arange(len(self._rows), device=self._rows.device)
        with torch.no_grad(), left_as_found(self._forward_func, self._rows.device):
            blocks = every.split(batch_size or len(every))
            return torch.cat([self._ask(self._rows[block], block) for block in blocks])

    def outputs_of(self, points: Tensor) -> Tensor:
        """Outputs (m, ...) of any points (m, d), if no argument belongs to a row."""
        no_rows = torch.empty(0, dtype=torch.int64, device=points.device)
        with torch.no_grad(), left_as_found(self._forward_func, points.device):
            return self._ask(points, no_rows)

    def decisions(self, target: Any) -> tuple[Tensor | None, Tensor]:
        """The class (n,) to keep, None for the predicted one, and the number (n,) of the decision.

        The last dimension of the outputs is the classes; those before it number decisions.
        """
        n_rows, device = len(self._rows), self._rows.device
        one = self._ask(self._rows[:1], torch.zeros(1, dtype=torch.int64, device=device))
        chosen = flat_target(one.new_empty(1).expand(n_rows, *one.shape[1:]), target)
        if chosen is None:
            if one.ndim > 2:
                raise InvalidInputError(
                    f"outputs have shape {tuple(one.shape[1:])} per example; a target is needed "
                    "to say which of their decisions to explain"
                )
            return None, torch.zeros(n_rows, dtype=torch.int64, device=device)
        if one[0].numel() == 1:
            return None, chosen
        return chosen % one.shape[-1], chosen // one.shape[-1]

    def outputs_at(self, points: Tensor, rows: Tensor, position: Tensor) -> Tensor:
        """Outputs (m, K) of one decision at points that belong to `rows` (m,)."""
        outputs = self._ask(points, rows)
        if outputs.ndim <= 2:
            return outputs
        decisions = outputs.flatten(1, -2)
        return decisions[torch.arange(len(points), device=points.device), position]

    def _ask(self, points: Tensor, rows: Tensor) -> Tensor:
        arguments = tuple(
            argument[rows]
            if self._goes_with_rows(argument)
            else (argument.clone() if isinstance(argument, Tensor) else argument)
            for argument in self._arguments
        )
        # Copies, as a forward_func may work in place.
        answer = ask_with_copies(
            self._forward_func,
            lambda *tensors: _run_forward(self._forward_func, tensors, None, arguments),
            *self._layout.tensors(points),
        )
        outputs = class_outputs(answer, "forward_func")
        if not isinstance(outputs, Tensor) or outputs.ndim == 0 or len(outputs) != len(points):
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise PredictorError(
                f"forward_func was given {len(points)} examples and returned {got}; a tensor with "
                "one row of outputs for each was expected"
            )
        return outputs

    def _goes_with_rows(self, argument: object) -> TypeGuard[Tensor]:
        return (
            isinstance(argument, Tensor) and argument.ndim > 0 and len(argument) == len(self._rows)
        )


def flat_target(outputs: Tensor, target: Any) -> Tensor | None:
    """The position (n,) of a target among an example's flattened outputs, None for None."""
    if target is None:
        return None
    numbers = torch.arange(outputs[0].numel(), device=outputs.device).view(outputs.shape[1:])
    # Captum's own selection, applied to the positions: its rules and its errors.
    chosen = cast(Tensor, _select_targets(numbers.expand(outputs.shape), target))
    if chosen.ndim != 1:
        raise InvalidInputError(
            f"target {target!r:.60} selects {tuple(chosen.shape[1:])} outputs per example; one is "
            f"needed, from outputs of shape {tuple(outputs.shape[1:])}"
        )
    return chosen
