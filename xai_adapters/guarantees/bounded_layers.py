"""Layers that map intervals forward and linear lower bounds back to their inputs.

A linear lower bound of quantities q is a pair of coefficients A, (n, R, *shape of z), and a
constant, (n, R), with q >= A z + constant. `back` substitutes the layer z = f(inputs): it returns
the coefficients of the inputs and the change of the constant. All is computed in double precision.

Rounding errors are bounded too. The certified network computes in its own precision, with unit
roundoff u: a dot product of m terms, summed in any order, is off by at most m u / (1 - m u) times
the sum of the terms' magnitudes (Higham 2002, section 3.1). Each layer is therefore bounded as its
exact result plus or minus `error`, in intervals and in `back` alike. The errors of our own
double-precision arithmetic have the same form and are added, with a generous margin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

DOUBLE = torch.float64
_UNIT = torch.finfo(DOUBLE).eps / 2


class Interval(NamedTuple):
    """Lower and upper bounds (n, ...) of a layer's units, in double precision."""

    lower: Tensor
    upper: Tensor

    def reach(self) -> Tensor:
        """The largest magnitude of each unit."""
        return torch.maximum(self.lower.abs(), self.upper.abs())

    def lowest(self, coefficients: Tensor) -> Tensor:
        """A lower bound (n, R) of A z, rounding included, for coefficients A (n, R, ...)."""
        lowest = _summed(
            coefficients.clamp(min=0), self.lower, coefficients.clamp(max=0), self.upper
        )
        return lowest - _own_rounding(self.lower) * _summed(coefficients.abs(), self.reach())


Backward = tuple[list[Tensor], Tensor]


class Layer(Protocol):
    """A layer that can be bounded."""

    def interval(self, *inputs: Interval) -> Interval:
        """Bounds of the layer's units, given those of its inputs."""

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """Coefficients (n, R, ...) of each input, and what the constant (n, R) changes by."""


@dataclass(frozen=True)
class Precision:
    """The certified network's unit roundoff, smallest normal and largest number."""

    unit: float
    tiny: float
    largest: float

    @classmethod
    def of(cls, dtype: torch.dtype) -> Precision:
        """The precision of a floating point type."""
        info = torch.finfo(dtype)
        return cls(info.eps / 2, info.tiny, info.max)

    def error(self, magnitude: Tensor, fan_in: int, fan_out: int) -> Tensor:
        """A bound (n, ...) on the error of units, given the sums of their terms' magnitudes."""
        network, ours = (fan_in + 4) * self.unit, 2 * (fan_in + fan_out + 8) * _UNIT
        relative = 1.2 * network + ours + _own_rounding(magnitude)
        error = relative * magnitude + 2 * (fan_in + 4) * self.tiny
        # Otherwise m u / (1 - m u) exceeds 1.2 m u, or a partial sum may overflow.
        sound = (magnitude < self.largest / 2) & (network < 0.1)
        return torch.where(sound, error, torch.inf)


@dataclass(frozen=True)
class Affine:
    """z = W x + b, with W given as a function: linear, convolution, mean, normalization, reshape.

    Args:
        apply: W x for rows x (m, ...).
        magnitude: |W| x, with the weights' magnitudes, for nonnegative x.
        precision: of the network.
        fan_in: terms of a sum in W x, or a function that gives it for the shape of x; 0 if units
            are only moved.
        fan_out: terms of a sum in W^T z; by default as many.
        bias: b, broadcasting against the units (1, ...).
        bias_magnitude: of the terms of b, if it is a sum itself; by default |b|.
    """

    apply: Callable[[Tensor], Tensor]
    magnitude: Callable[[Tensor], Tensor]
    precision: Precision
    fan_in: int | Callable[[torch.Size], int] = 0
    fan_out: int | None = None
    bias: Tensor | None = None
    bias_magnitude: Tensor | None = None

    def interval(self, *inputs: Interval) -> Interval:
        """Centre and radius, mapped by W and |W|."""
        (x,) = inputs
        if self.fan_in == 0:
            return Interval(self.apply(x.lower), self.apply(x.upper))
        centre = x.lower / 2 + x.upper / 2
        middle = self.apply(centre)
        if self.bias is not None:
            middle = middle + self.bias
        radius = self.magnitude(x.upper / 2 - x.lower / 2) + self._error(x)
        return Interval(middle - radius, middle + radius)

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """A W, and A b minus the rounding error."""
        (x,) = inputs
        constant = coefficients.new_zeros(coefficients.shape[:2])
        if self.fan_in != 0:
            constant = constant - _summed(coefficients.abs(), self._error(x))
        if self.bias is not None:
            constant = constant + _summed(coefficients, self.bias)
        flat = coefficients.flatten(0, 1)
        with torch.enable_grad():
            probe = flat.new_zeros(len(flat), *x.lower.shape[1:], requires_grad=True)
            (flat,) = torch.autograd.grad(self.apply(probe), probe, flat)
        return [flat.unflatten(0, coefficients.shape[:2])], constant

    def _error(self, x: Interval) -> Tensor:
        magnitude = self.magnitude(x.reach())
        if self.bias is not None:
            of_bias = self.bias.abs() if self.bias_magnitude is None else self.bias_magnitude
            magnitude = magnitude + of_bias
        fan_in = self.fan_in if isinstance(self.fan_in, int) else self.fan_in(x.lower.shape)
        return self.precision.error(magnitude, fan_in, self.fan_out or fan_in)


class Relu:
    """z = max(x, 0), between two lines where the sign is undecided (Zhang et al. 2018, CROWN)."""

    def interval(self, *inputs: Interval) -> Interval:
        """It is monotone."""
        (x,) = inputs
        return Interval(x.lower.clamp(min=0), x.upper.clamp(min=0))

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """Below the chord, above the line through 0 with the tighter slope, 0 or 1."""
        (x,) = inputs
        below = torch.where(x.upper > -x.lower, 1.0, 0.0).to(x.lower)
        below = torch.where(x.upper <= 0, 0, torch.where(x.lower >= 0, 1, below))
        return _between_lines(coefficients, below, *_chord(x, x.lower.new_zeros(())), x.reach())


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window of a plane.

    Args:
        windows: for planes (height, width), indices (units out, window) of the pixels in each
            window; the index height * width stands for padding.
        shape: of the output planes, for planes (height, width).
    """

    windows: Callable[[int, int], Tensor]
    shape: Callable[[int, int], tuple[int, int]]

    def interval(self, *inputs: Interval) -> Interval:
        """It is monotone."""
        (x,) = inputs
        out = self.shape(*x.lower.shape[-2:])
        return Interval(*(self._seen(bound).amax(dim=-1).unflatten(-1, out) for bound in x))

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """Above the pixel with the highest lower bound, below the chord of the likely maximum.

        With p the pixel with the highest upper bound, and M the highest upper bound of the others,
        the maximum is at most max(p, M) = M + relu(p - M), which is p where p >= M throughout.
        """
        (x,) = inputs
        lower, upper = self._seen(x.lower), self._seen(x.upper)
        sure, top = lower.argmax(dim=-1, keepdim=True), upper.argmax(dim=-1, keepdim=True)
        others = upper.scatter(-1, top, -torch.inf).amax(dim=-1)
        # A window of one pixel, or of one pixel and padding, is that pixel.
        p = Interval(lower.gather(-1, top)[..., 0], upper.gather(-1, top)[..., 0])
        others = torch.maximum(others, p.lower)
        slope, intercept = _chord(p, others)
        pixels = self.windows(*x.lower.shape[-2:]).to(sure.device).expand(lower.shape)
        flat = coefficients.flatten(-2)
        found = flat.new_zeros(*flat.shape[:-1], x.lower[0, 0].numel() + 1)
        for part, pixel in (
            (flat.clamp(min=0), pixels.gather(-1, sure)),
            (flat.clamp(max=0) * slope[:, None], pixels.gather(-1, top)),
        ):
            found.scatter_add_(-1, pixel[:, None, ..., 0].expand(part.shape), part)
        reach = torch.maximum(p.reach(), others.abs())
        constant = _summed(flat.clamp(max=0), intercept)
        # A pixel may be in several windows, whose coefficients are added.
        n_terms = pixels.shape[-1]
        constant -= (n_terms + 4) * _own_rounding(reach) * _summed(flat.abs(), reach)
        return [found[..., :-1].unflatten(-1, x.lower.shape[-2:])], constant

    def _seen(self, planes: Tensor) -> Tensor:
        """Windows (n, channels, units, window) of planes (n, channels, height, width)."""
        padded = torch.nn.functional.pad(planes.flatten(-2), (0, 1), value=-torch.inf)
        return padded[..., self.windows(*planes.shape[-2:]).to(planes.device)]


@dataclass(frozen=True)
class Add:
    """z = x + y, where two branches meet."""

    precision: Precision

    def interval(self, *inputs: Interval) -> Interval:
        """Bounds are added."""
        x, y = inputs
        error = self._error(x, y)
        return Interval(x.lower + y.lower - error, x.upper + y.upper + error)

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """Both branches get the coefficients."""
        return [coefficients, coefficients], -_summed(coefficients.abs(), self._error(*inputs))

    def _error(self, x: Interval, y: Interval) -> Tensor:
        return self.precision.error(x.reach() + y.reach(), 2, 1)


@dataclass(frozen=True)
class Concatenate:
    """Units side by side.

    Args:
        dim: the dimension, at least 1, as 0 is that of the rows.
    """

    dim: int

    def interval(self, *inputs: Interval) -> Interval:
        """Bounds are concatenated."""
        return Interval(*(torch.cat(bounds, self.dim) for bounds in zip(*inputs, strict=True)))

    def back(self, coefficients: Tensor, *inputs: Interval) -> Backward:
        """Each input gets its own coefficients."""
        sizes = [x.lower.shape[self.dim] for x in inputs]
        # Coefficients have one more dimension, after that of the rows.
        parts = coefficients.split(sizes, dim=self.dim + 1)
        return list(parts), coefficients.new_zeros(coefficients.shape[:2])


def _chord(x: Interval, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and intercept of a line above the convex max(x, floor) on an interval."""
    rises = x.upper > floor
    slope = torch.where(rises, (x.upper - floor) / (x.upper - x.lower), 0)
    sure = x.lower >= floor
    slope = torch.where(sure, 1, slope)
    # Above both end points for this very slope, however it was rounded.
    intercept = torch.maximum(
        torch.maximum(x.lower, floor) - slope * x.lower,
        torch.maximum(x.upper, floor) - slope * x.upper,
    )
    room = 8 * _UNIT * (x.reach() + floor.abs())
    return slope, torch.where(sure, 0, intercept + room)


def _between_lines(
    coefficients: Tensor, below: Tensor, above: Tensor, intercept: Tensor, reach: Tensor
) -> Backward:
    """Substitute below * x <= z <= above * x + intercept, for each unit, into a lower bound."""
    falling = coefficients.clamp(max=0)
    constant = _summed(falling, intercept)
    constant -= _own_rounding(reach) * _summed(coefficients.abs(), reach)
    return [coefficients.clamp(min=0) * below[:, None] + falling * above[:, None]], constant


def joined(one: Tensor, other: Tensor, x: Interval) -> tuple[Tensor, Tensor]:
    """Add the coefficients that two branches have for the same inputs."""
    total = one + other
    return total, -_own_rounding(x.lower) * _summed(total.abs(), x.reach())


def rounded_down(values: Tensor) -> Tensor:
    """The next smaller number, which the exact value of a rounded sum cannot be below."""
    return values.nextafter(values.new_tensor(-torch.inf))


def _own_rounding(units: Tensor) -> float:
    """Bound on the error of a sum over all units in double precision, relative to its terms."""
    return (1.1 * units[0].numel() + 16) * _UNIT


def _summed(*factors: Tensor) -> Tensor:
    """Sums over all units of A times values, (n, R, ...) and (n, ...) in pairs: (n, R)."""
    pairs = zip(factors[::2], factors[1::2], strict=True)
    products = [(a * values[:, None]).flatten(2).sum(dim=2) for a, values in pairs]
    return products[0] if len(products) == 1 else products[0] + products[1]
