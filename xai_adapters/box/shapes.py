"""Shapes of the box around a row: what makes boxes of widths."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xai_adapters.box.geometry import Boxes, DirectedBoxes, MaskedBoxes
from xai_adapters.errors import InvalidInputError

ShapeName = Literal["symmetric", "asymmetric", "directed", "masked"]
Range = tuple["float | Tensor", "float | Tensor"]


class BoxShape:
    """Symmetric boxes, and what their relatives share.

    Args:
        x: (n, ...) the rows.
        bounds: the data's range, a lower and an upper value that broadcast against the rows; no
            box reaches beyond, but a value that lies outside already may stay. None for none.

    Example:
        >>> shape = BoxShape(torch.tensor([[0.2, 0.5]]), bounds=(0.0, 1.0))
        >>> shape.boxes(torch.tensor([0]), torch.tensor([[[0.5, 0.25]]])).lower.tolist()
        [[0.0, 0.25]]
    """

    n_sides = 1
    #: The share of the largest width at which a search starts.
    start = 0.0
    _boxes: type[Boxes] = Boxes

    def __init__(self, x: Tensor, bounds: Range | None = None) -> None:
        # Widths move by a hundredth of the range a step: too little for 16-bit floats.
        self.x = x.to(torch.promote_types(x.dtype, torch.float32))
        self.bounds = None if bounds is None else self._range(bounds)

    def boxes(self, rows: Tensor, width: Tensor) -> Boxes:
        """The boxes of rows (a,) with widths (a, s, ...)."""
        least, most = (None, None) if self.bounds is None else (end[rows] for end in self.bounds)
        return self._boxes(rows, self.x[rows], width, least, most, **self._of(rows))

    def _of(self, rows: Tensor) -> dict[str, Tensor]:
        """What else boxes of that shape are made of."""
        return {}

    def _range(self, bounds: Range) -> tuple[Tensor, Tensor]:
        ends = []
        for name, end in zip(("lower", "upper"), bounds, strict=True):
            try:
                ends.append(torch.as_tensor(end).to(self.x).expand(self.x.shape))
            except RuntimeError as error:
                raise InvalidInputError(
                    f"the {name} bound of shape {tuple(torch.as_tensor(end).shape)} does not fit "
                    f"rows of shape {tuple(self.x.shape[1:])}"
                ) from error
        if not (ends[0] <= ends[1]).all():
            raise InvalidInputError("bounds must be a lower and an upper value, in this order")
        return torch.minimum(ends[0], self.x), torch.maximum(ends[1], self.x)


class AsymmetricShape(BoxShape):
    """Boxes with a width down and a width up (Hara et al. 2018)."""

    n_sides = 2


class DirectedShape(BoxShape):
    """Boxes from x towards a baseline that broadcasts against the rows."""

    _boxes = DirectedBoxes

    def __init__(self, x: Tensor, bounds: Range | None, baseline: Tensor) -> None:
        super().__init__(x, bounds)
        try:
            end = baseline.to(self.x).expand(x.shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"a baseline of shape {tuple(baseline.shape)} does not fit rows of shape "
                f"{tuple(x.shape)}"
            ) from error
        self._way = (end if self.bounds is None else end.clamp(*self.bounds)) - self.x

    def _of(self, rows: Tensor) -> dict[str, Tensor]:
        return {"way": self._way[rows]}


class MaskedShape(DirectedShape):
    """Each feature is at x or, with the width for its probability, at the baseline."""

    start = 0.5
    _boxes = MaskedBoxes


_SHAPES: dict[ShapeName, Any] = {
    "symmetric": BoxShape,
    "asymmetric": AsymmetricShape,
    "directed": DirectedShape,
    "masked": MaskedShape,
}


def check_shape(name: str) -> None:
    """Raise `InvalidInputError` unless `name` is a `ShapeName`."""
    if name not in _SHAPES:
        raise InvalidInputError(
            f"shape must be one of {', '.join(get_args(ShapeName))}; it is {name!r}"
        )


def box_shape(
    name: ShapeName, x: Tensor, bounds: Range | None, baseline: float | Tensor | None
) -> BoxShape:
    """The shape of that name around rows.

    Args:
        name: of the shape.
        x: (n, ...) rows.
        bounds: the data's range.
        baseline: where directed and masked shapes lead; broadcasts against the rows.

    Raises:
        InvalidInputError: for bounds or a baseline that do not fit the rows, and a baseline that
            is missing, or given to a shape that has none.
    """
    needs_baseline = issubclass(_SHAPES[name], DirectedShape)
    if needs_baseline is (baseline is None):
        raise InvalidInputError(
            f"the shape '{name}' leads to a baseline; give one, a number or values like the rows'"
            if needs_baseline
            else f"the shape '{name}' has no baseline; the shapes directed and masked have one"
        )
    if not needs_baseline:
        shape: BoxShape = _SHAPES[name](x, bounds)
        return shape
    target = torch.as_tensor(baseline)
    if not target.isfinite().all():
        raise InvalidInputError("the baseline has NaN or infinite values")
    directed: BoxShape = _SHAPES[name](x, bounds, target)
    return directed
