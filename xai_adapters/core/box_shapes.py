"""Shapes of the box around a row: how widths become its ends, and draws points inside it.

A shape turns a row's widths w and a draw u from [0, 1]^d into a point, and slopes at points into
slopes in w. The point lies at the share u of the way from one end of the box to the other, from the
lower to the upper or, where the box is directed, from x towards the baseline; so uniform draws of u
are uniform in the box, and corners of [0, 1]^d are the box's. Widths have a dimension of sides
behind that of the rows, (a, s, ...): one side where a feature has one width, two where it has one
down and one up.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xai_adapters.errors import InvalidInputError

ShapeName = Literal["symmetric", "asymmetric", "directed", "masked"]
Range = tuple["float | Tensor", "float | Tensor"]

# Of the logistic relaxation of a mask; Maddison et al. 2017 find two thirds to do well.
_TEMPERATURE = 2 / 3


class BoxShape:
    """The box [x - w, x + w] of the paper, and what its relatives share.

    Args:
        x: (n, ...) the rows.
        bounds: the data's range, a lower and an upper value that broadcast against the rows; no
            box reaches beyond, but a value that lies outside already may stay. None for none.

    Example:
        >>> shape = BoxShape(torch.tensor([[0.2, 0.5]]), bounds=(0.0, 1.0))
        >>> width = torch.tensor([[[0.5, 0.25]]])
        >>> [end.tolist() for end in shape.ends(torch.tensor([0]), width)]
        [[[0.0, 0.25]], [[0.699999988079071, 0.75]]]
        >>> shape.points(torch.tensor([0]), width, torch.tensor([[0.0, 1.0]])).tolist()
        [[[0.0, 0.75]]]
    """

    n_sides = 1
    #: The share of the largest width at which a search starts.
    start = 0.0

    def __init__(self, x: Tensor, bounds: Range | None = None) -> None:
        # Widths move by a hundredth of the range a step: too little for 16-bit floats.
        self.x = x.to(torch.promote_types(x.dtype, torch.float32))
        self.bounds = None if bounds is None else self._range(bounds)

    def ends(self, rows: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends (a, ...) of the boxes of rows (a,) with widths (a, s, ...)."""
        lower, upper = self._free_ends(rows, width)
        if self.bounds is None:
            return lower, upper
        least, most = (end[rows] for end in self.bounds)
        return torch.maximum(lower, least), torch.minimum(upper, most)

    def points(self, rows: Tensor, width: Tensor, draws: Tensor) -> Tensor:
        """Points (a, m, ...) of the boxes, at draws (m, ...) or (a, m, ...) from [0, 1]."""
        lower, upper = self.ends(rows, width)
        return torch.lerp(lower[:, None], upper[:, None], draws)

    def slope(self, rows: Tensor, width: Tensor, draws: Tensor, pull: Tensor) -> Tensor:
        """The derivative (a, s, ...) with respect to the widths of sum_m pull_m * point_m.

        An end that has come to the data's range moves no more.

        Args:
            rows: (a,) numbers of the rows.
            width: (a, s, ...) of their boxes.
            draws: (m, ...) or (a, m, ...) that the points were made of.
            pull: (a, m, ...) slopes with respect to the points.
        """
        up = (pull * draws).sum(dim=1)
        down = up - pull.sum(dim=1)
        if self.bounds is not None:
            lower, upper = self._free_ends(rows, width)
            down = down * (lower > self.bounds[0][rows])
            up = up * (upper < self.bounds[1][rows])
        return torch.stack((down, up), dim=1) if self.n_sides == 2 else (down + up)[:, None]

    def reach(self, rows: Tensor, width: Tensor) -> Tensor:
        """How far points (a, ...) go while a feature's draw goes from 0 to 1, and which way."""
        lower, upper = self.ends(rows, width)
        return upper - lower

    def corner(self, rows: Tensor, pull: Tensor) -> Tensor:
        """The draws (a, m, ...) in {0, 1} whose points lie farthest along slopes (a, m, ...)."""
        return (pull > 0).to(pull.dtype)

    def _free_ends(self, rows: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        x = self.x[rows]
        return x - width[:, 0], x + width[:, -1]

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
    """The box [x - u, x + v] of Hara et al. 2018, with a width down and a width up."""

    n_sides = 2


class DirectedShape(BoxShape):
    """The box from x towards a baseline, x + t * w * (baseline - x) with t in [0, 1]."""

    def __init__(self, x: Tensor, bounds: Range | None, baseline: Tensor) -> None:
        super().__init__(x, bounds)
        try:
            end = baseline.to(self.x).expand(x.shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"a baseline of shape {tuple(baseline.shape)} does not fit rows of shape "
                f"{tuple(x.shape)}"
            ) from error
        self.way = (end if self.bounds is None else end.clamp(*self.bounds)) - self.x

    def points(self, rows: Tensor, width: Tensor, draws: Tensor) -> Tensor:
        """Points (a, m, ...) at the shares `draws` of the way to the end nearer the baseline."""
        # Not one fused operation, whose rounding could lead beyond the ends.
        return self.x[rows][:, None] + self.reach(rows, width)[:, None] * draws

    def slope(self, rows: Tensor, width: Tensor, draws: Tensor, pull: Tensor) -> Tensor:
        """The share of the way that each point has gone, summed."""
        return ((pull * draws).sum(dim=1) * self.way[rows])[:, None]

    def reach(self, rows: Tensor, width: Tensor) -> Tensor:
        """The way from x to the end that is nearer the baseline."""
        return width[:, 0] * self.way[rows]

    def corner(self, rows: Tensor, pull: Tensor) -> Tensor:
        """As of any box, counted from x towards the baseline."""
        return super().corner(rows, pull * self.way[rows][:, None])

    def _free_ends(self, rows: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        step = self.reach(rows, width)
        return self.x[rows] + step.clamp(max=0), self.x[rows] + step.clamp(min=0)


class MaskedShape(DirectedShape):
    """Each feature is at x or at the baseline, and there with probability w.

    The mask is a Bernoulli draw forwards and its logistic relaxation backwards (Maddison et al.,
    "The concrete distribution", 2017). The ends are those of the smallest box around all points.
    """

    start = 0.5

    def points(self, rows: Tensor, width: Tensor, draws: Tensor) -> Tensor:
        """Points (a, m, ...) with the features masked whose draw exceeds 1 - w."""
        x, way = self.x[rows][:, None], self.way[rows][:, None]
        return x + (draws > 1 - width).to(x.dtype) * way

    def slope(self, rows: Tensor, width: Tensor, draws: Tensor, pull: Tensor) -> Tensor:
        """Of the relaxation: all of the way, whatever was drawn."""
        return (pull.sum(dim=1) * self.way[rows])[:, None]

    def _free_ends(self, rows: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        return super()._free_ends(rows, (width > 0).to(width.dtype))


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
