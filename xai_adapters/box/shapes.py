"""The shapes of boxes by name, and boxes of a shape around given rows."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from xai_adapters.box.geometry import AsymmetricBoxes, Boxes, DirectedBoxes, MaskedBoxes
from xai_adapters.errors import InvalidInputError

ShapeName = Literal["symmetric", "asymmetric", "directed", "masked"]
Range = tuple["float | Tensor", "float | Tensor"]

SHAPES: dict[ShapeName, type[Boxes]] = {
    "symmetric": Boxes,
    "asymmetric": AsymmetricBoxes,
    "directed": DirectedBoxes,
    "masked": MaskedBoxes,
}


def check_max_width(max_width: object) -> Tensor:
    """The largest widths as a tensor; raises `InvalidInputError` unless they are positive."""
    try:
        width = torch.as_tensor(max_width)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(
            f"max_width must be a number or a tensor, is {max_width!r:.60}"
        ) from error
    if not (width > 0).all():
        raise InvalidInputError(f"max_width must be more than 0, is {max_width!r:.60}")
    return width


def width_of_each(max_width: float | Tensor, x: Tensor) -> Tensor:
    """The largest width (n, ...) of every feature of every row.

    Raises:
        InvalidInputError: if it does not broadcast against the rows.
    """
    width = torch.as_tensor(max_width).to(x)
    try:
        return width.expand(x.shape)
    except RuntimeError as error:
        raise InvalidInputError(
            f"max_width of shape {tuple(width.shape)} does not fit rows of shape "
            f"{tuple(x.shape[1:])}"
        ) from error


def empty_boxes(
    shape: ShapeName,
    x: Tensor,
    bounds: Range | None = None,
    baseline: float | Tensor | None = None,
) -> Boxes:
    """Boxes of width 0 around rows.

    Args:
        shape: of the boxes.
        x: (n, ...) rows; the boxes are in float32 or wider.
        bounds: the data's range, a lower and an upper value that broadcast against the rows; no
            box reaches beyond, but a value outside may stay. None for no range.
        baseline: where directed and masked boxes lead; broadcasts against the rows.

    Raises:
        InvalidInputError: for bounds or a baseline that do not fit the rows, and a baseline that
            is missing, or given to a shape that has none.

    Example:
        >>> boxes = empty_boxes("symmetric", torch.tensor([[0.2, 0.5]]), bounds=(0.0, 1.0))
        >>> boxes.replace(width=torch.tensor([[[0.5, 0.25]]])).lower.tolist()
        [[0.0, 0.25]]
    """
    kind = SHAPES[shape]
    # Widths move by a hundredth of the range in a step: too little for 16-bit floats.
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    least, most = (None, None) if bounds is None else _range(bounds, x)
    of_shape = {}
    if kind.has_baseline is (baseline is None):
        raise InvalidInputError(
            f"the shape '{shape}' leads to a baseline; give one, a number or values like the rows'"
            if kind.has_baseline
            else f"the shape '{shape}' has no baseline; the shapes directed and masked have one"
        )
    if baseline is not None:
        end = _baseline(torch.as_tensor(baseline), x)
        of_shape["to_baseline"] = (end if least is None else end.clamp(least, most)) - x
    every = torch.arange(len(x), device=x.device)
    width = x.new_zeros(len(x), kind.n_sides, *x.shape[1:])
    return kind(every, x, width, least, most, **of_shape)


def _range(bounds: Range, x: Tensor) -> tuple[Tensor, Tensor]:
    limits = []
    for name, limit in zip(("lower", "upper"), bounds, strict=True):
        try:
            limits.append(torch.as_tensor(limit).to(x).expand(x.shape))
        except RuntimeError as error:
            raise InvalidInputError(
                f"the {name} bound of shape {tuple(torch.as_tensor(limit).shape)} does not fit "
                f"rows of shape {tuple(x.shape[1:])}"
            ) from error
    if not (limits[0] <= limits[1]).all():
        raise InvalidInputError("bounds must be a lower and an upper value, in this order")
    return torch.minimum(limits[0], x), torch.maximum(limits[1], x)


def _baseline(baseline: Tensor, x: Tensor) -> Tensor:
    if not baseline.isfinite().all():
        raise InvalidInputError("the baseline has NaN or infinite values")
    try:
        return baseline.to(x).expand(x.shape)
    except RuntimeError as error:
        raise InvalidInputError(
            f"a baseline of shape {tuple(baseline.shape)} does not fit rows of shape "
            f"{tuple(x.shape)}"
        ) from error
