"""A model asked in the way that suits an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError, NotApplicableError

Compiled = bool | Literal["reduce-overhead"]


def check_faster(autocast: torch.dtype | None, compiled: object) -> None:
    """Raise `InvalidInputError` unless these are None or a 16-bit float, and a `Compiled`."""
    if autocast not in (None, torch.bfloat16, torch.float16):
        raise InvalidInputError(
            f"autocast must be torch.bfloat16, torch.float16 or None; it is {autocast!r}"
        )
    if compiled not in (False, True, "reduce-overhead"):
        raise InvalidInputError(
            f"compiled must be True, False or 'reduce-overhead'; it is {compiled!r}"
        )


def faster_model(
    model: Callable[..., Tensor],
    device: torch.device,
    *,
    autocast: torch.dtype | None = None,
    channels_last: bool = False,
    compiled: Compiled = False,
) -> Callable[..., Tensor]:
    """The same model, asked faster; the model itself is not changed.

    Args:
        model: gives outputs for rows (m, ...) and what goes with them.
        device: of the rows.
        autocast: the type that its matrix products and convolutions are computed in.
        channels_last: hand images (m, c, h, w) over with a pixel's channels side by side, which
            convolutions then keep to.
        compiled: hand it to `torch.compile`, which takes a minute, and again for other numbers of
            rows; "reduce-overhead" is its mode of that name, which records what the device is
            asked to do as CUDA graphs and replays them.

    Raises:
        NotApplicableError: for CUDA graphs on a device that has none, and, once the model is asked,
            if it cannot be compiled.

    Example:
        >>> model = torch.nn.Linear(2, 3)
        >>> faster = faster_model(model, torch.device("cpu"), autocast=torch.bfloat16)
        >>> faster(torch.ones(4, 2)).dtype
        torch.bfloat16
    """
    ask = _compiled(model, device, graphs=compiled == "reduce-overhead") if compiled else model
    if autocast is None and not channels_last:
        return ask

    def faster(points: Tensor, *row_data: Tensor) -> Tensor:
        if channels_last and points.ndim == 4:
            points = points.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            return ask(points, *row_data)

    return faster


def _compiled(
    model: Callable[..., Tensor], device: torch.device, *, graphs: bool
) -> Callable[..., Tensor]:
    if graphs and not hasattr(torch.get_device_module(device), "CUDAGraph"):
        raise NotApplicableError(
            "compiled='reduce-overhead' records CUDA graphs, which need such a device, and the "
            f"rows are on '{device.type}'; compiled=True works without"
        )
    compiled = torch.compile(model, mode="reduce-overhead" if graphs else None)

    def ask(points: Tensor, *row_data: Tensor) -> Tensor:
        try:
            outputs = compiled(points, *row_data)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise NotApplicableError(
                f"the model cannot be compiled for '{device.type}'; ask it with compiled=False. "
                f"torch says: {error}"
            ) from error
        # The next replay of a graph writes over the outputs of this one.
        return outputs.clone() if graphs else outputs

    return ask
