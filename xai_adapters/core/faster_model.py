"""A model asked in the way that suits an accelerator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError


def check_autocast(dtype: torch.dtype | None) -> None:
    """Raise `InvalidInputError` unless `dtype` is None or a 16-bit float."""
    if dtype not in (None, torch.bfloat16, torch.float16):
        raise InvalidInputError(
            f"autocast must be torch.bfloat16, torch.float16 or None; it is {dtype!r}"
        )


def faster_model(
    model: Callable[..., Tensor],
    *,
    autocast: torch.dtype | None = None,
    channels_last: bool = False,
    compiled: bool = False,
) -> Callable[..., Tensor]:
    """The same model, asked faster; the model itself is not changed.

    Args:
        model: gives outputs for rows (m, ...) and what goes with them.
        autocast: the type that its matrix products and convolutions are computed in.
        channels_last: hand images (m, c, h, w) over with a pixel's channels side by side, which
            convolutions then keep to.
        compiled: hand it to `torch.compile`, which takes a minute, and again for other numbers of
            rows.

    Example:
        >>> model = faster_model(torch.nn.Linear(2, 3), autocast=torch.bfloat16)
        >>> model(torch.ones(4, 2)).dtype
        torch.bfloat16
    """
    ask = torch.compile(model) if compiled else model
    if autocast is None and not channels_last:
        return ask

    def faster(points: Tensor, *row_data: Tensor) -> Tensor:
        if channels_last and points.ndim == 4:
            points = points.contiguous(memory_format=torch.channels_last)
        with torch.autocast(points.device.type, autocast, enabled=autocast is not None):
            return ask(points, *row_data)

    return faster
