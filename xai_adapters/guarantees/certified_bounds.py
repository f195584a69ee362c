"""Proofs that a box is invariant: interval bounds and CROWN."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from xai_adapters.errors import BoxWarning, InvalidInputError, NotApplicableError
from xai_adapters.guarantees.bounded_layers import (
    DOUBLE,
    Affine,
    Interval,
    MaxPool,
    Relu,
    joined,
    rounded_down,
)
from xai_adapters.guarantees.sampling_bound import largest_safe_scale
from xai_adapters.guarantees.scaled_box import check_box, scaled_box
from xai_adapters.guarantees.traced_network import trace
from xai_adapters.model.decision import Decision
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found

Method = Literal["ibp", "crown-ibp", "crown"]

_ENDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: scores.softmax(dim=1),
    "log_softmax": lambda scores: scores.log_softmax(dim=1),
    "sigmoid": torch.sigmoid,
}


class Certifier:
    """Lower bounds on the margins of a network in boxes around given rows.

    "ibp" bounds layer after layer by intervals (Gowal et al. 2018), the margins folded into the
    last ones. "crown" bounds the margins, and each unit whose activation may be on or off, by
    linear functions of the input (Zhang et al. 2018); "crown-ibp" the margins alone, and the units
    by intervals. On the way back to the input the intervals of every layer give a bound too, and
    the best is taken, so that neither is looser than "ibp". For a linear network all are exact.

    The bounds hold for the network as it is computed in the type of the rows, rounding included,
    where sums and products are rounded one by one, in any order: not under autocast or TF32, nor
    for convolutions by Winograd's or Fourier's methods.

    Args:
        network: a module of layers that `trace` knows; bounded as it computes in eval mode.
        x: (n, ...) rows, float32 or float64.
        target: (n,) the class to keep, or one for all; by default the network's own at `x`.
        method: how tight, and at what cost. "crown" follows every open unit back to the input,
            which is for networks of some thousand units; "crown-ibp" the classes alone.
        output_type: what the network returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: for a network with one output, the value that separates its two classes.
        internal_batch_size: rows, times units of each, that are followed back at once. Memory
            grows with this number times the largest layer, at 8 bytes.

    Attributes:
        target: (n,) the class to keep.

    Raises:
        NotApplicableError: naming the layer for which no bounds are known; if the network does
            not compute what its layers say; for rows of another type.
        InvalidInputError: for a bad target or setting.
        PredictorError: if the network returns NaN, or not one row of outputs for each row.

    Example:
        >>> network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))  # |x| - 1
        >>> weights = [[1.0], [-1.0]], [0.0, 0.0], [[1.0, 1.0]], [-1.0]
        >>> for parameter, values in zip(network.parameters(), weights):
        ...     parameter.data = torch.tensor(values)
        >>> x = torch.tensor([[3.0]])
        >>> Certifier(network, x).margin(x - 1, x + 1).round(decimals=3).tolist()
        [1.0]
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        x: Tensor,
        target: Tensor | int | None = None,
        *,
        method: Method = "crown",
        output_type: OutputType = "auto",
        threshold: float | None = None,
        internal_batch_size: int = 256,
    ) -> None:
        if method not in get_args(Method):
            raise InvalidInputError(
                f"method must be one of {', '.join(get_args(Method))}; it is {method!r}"
            )
        if not isinstance(network, nn.Module):
            raise NotApplicableError(
                f"cannot be certified: a {type(network).__name__} has no layers to be followed"
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise NotApplicableError(
                "cannot be certified: rounding is bounded for rows of float32 and float64; they "
                f"are {x.dtype}"
            )
        self._x, self._method, self._batch_size = x.detach(), method, internal_batch_size
        with left_as_found(network, x.device):
            self._network = trace(network, x.dtype)
            self._decision = Decision(
                network,
                self._x,
                target,
                output_type=output_type,
                threshold=threshold,
                batch_size=internal_batch_size,
            )
        self.target = self._decision.target
        single = self._decision.outputs.shape[1] == 1
        if (self._network.ending == "sigmoid") != single and self._network.ending != "none":
            raise NotApplicableError(
                "cannot be certified: of a softmax at the end there are at least two classes, of a "
                "sigmoid there is one output"
            )
        self._compare_with_outputs()

    def margin(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Bound from below how far the target stays ahead of every other class in each box.

        Above 0 the box is proven invariant: no point of it has another class. At or below 0
        nothing is known.

        Args:
            lower: (n, ...) lower ends of the boxes, in the type of the rows.
            upper: (n, ...) upper ends.

        Returns:
            (n,) float64, in the unit of the layer in front of a softmax or sigmoid at the end.

        Raises:
            InvalidInputError: for boxes that do not lie around their rows.
        """
        check_box(self._x, lower, upper)
        return self._margin(torch.arange(len(lower), device=lower.device), lower, upper)

    def scale(self, lower: Tensor, upper: Tensor, *, n_halvings: int = 10) -> Tensor:
        """Find by halving the largest scale at which each box is proven invariant.

        Args:
            lower: (n, ...) lower ends of the boxes, in the type of the rows.
            upper: (n, ...) upper ends.
            n_halvings: the scale is found to 2^-n_halvings.

        Returns:
            (n,) scales s in [0, 1] for which [x - s (x - lower), x + s (upper - x)] was proven
            invariant. 0 where nothing was: around a row of another class than its target no box is.

        Raises:
            InvalidInputError: for boxes that do not lie around their rows.

        Warns:
            BoxWarning: where the bounds cannot even prove the class of the row itself, so that no
                box can be certified, however small.
        """
        check_box(self._x, lower, upper)
        if n_halvings < 1:
            raise InvalidInputError(f"n_halvings must be at least 1; it is {n_halvings}")

        def not_proven(rows: Tensor, scale: Tensor, _: int) -> Tensor:
            box = scaled_box(self._x[rows], lower[rows], upper[rows], scale)
            return ~(self._margin(rows, *box) > 0)

        scale = largest_safe_scale(not_proven, len(lower), n_halvings + 1, lower.device)
        self._warn_where_rows_are_unproven((scale == 0).nonzero()[:, 0])
        return scale

    def _warn_where_rows_are_unproven(self, rows: Tensor) -> None:
        """Say which of the rows (a,) have a class of their own that the bounds cannot prove."""
        rows = rows[(self._decision.kept & ~self._decision.undecided)[rows]]
        if len(rows):
            rows = rows[~(self._margin(rows, self._x[rows], self._x[rows]) > 0)]
        if len(rows):
            warnings.warn(
                f"nothing can be proven around {len(rows)} of {len(self._x)} rows, the first of "
                f"them row {int(rows[0])}: with method='{self._method}' what rounding may do in "
                "each layer, grown through the layers behind it, exceeds the margin at the row "
                "itself; the network is too deep for such bounds",
                BoxWarning,
                stacklevel=3,
            )

    @torch.no_grad()
    def _margin(self, rows: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Lower bounds (a,) in boxes (a, ...) around the rows numbered `rows` (a,)."""
        found = []
        for block, low, high in zip(
            *(each.split(self._batch_size) for each in (rows, lower, upper)), strict=True
        ):
            box = Interval(low.to(DOUBLE), high.to(DOUBLE))
            intervals = self._intervals(box, tighten=self._method == "crown")
            coefficients, constant = self._folded(block, intervals[-1])
            at_once = max(1, self._batch_size // len(block))
            rivals = zip(
                coefficients.split(at_once, dim=1), constant.split(at_once, dim=1), strict=True
            )
            found.append(
                torch.cat([self._lowest(intervals, *some) for some in rivals], dim=1).amin(dim=1)
            )
        return torch.cat(found)

    def _intervals(self, box: Interval, *, tighten: bool) -> list[Interval]:
        """Bounds of the input and of every step."""
        steps = self._network.steps
        found = [box]
        for number, step in enumerate(steps, start=1):
            found.append(step.layer.interval(*(found[each] for each in step.inputs)))
            users = [type(other.layer) for other in steps if number in other.inputs]
            # Intervals are exact behind the input, and behind an activation as tight as before it.
            if not tighten or step.inputs == (0,) or isinstance(step.layer, (Relu, MaxPool)):
                continue
            if MaxPool in users:
                found[-1] = self._tightened(
                    found, torch.ones_like(found[-1].lower, dtype=torch.bool)
                )
            elif Relu in users:
                found[-1] = self._tightened(found, (found[-1].lower < 0) & (found[-1].upper > 0))
        return found

    def _tightened(self, intervals: list[Interval], wanted: Tensor) -> Interval:
        """Bounds of the last step, better where `wanted` (n, ...): its units followed back."""
        lower, upper = (end.flatten(1).clone() for end in intervals[-1])
        wanted = wanted.flatten(1)
        shape = intervals[-1].lower.shape
        units = wanted.any(dim=0).nonzero()[:, 0]
        for some in units.split(max(1, self._batch_size // (2 * len(lower)))):
            one = lower.new_zeros(len(some), lower.shape[1]).scatter_(1, some[:, None], 1)
            both = torch.cat((one, -one)).unflatten(1, shape[1:]).expand(len(lower), -1, *shape[1:])
            low, high = self._lowest(intervals, both, lower.new_zeros(())).chunk(2, dim=1)
            # A row's bounds must not depend on which units are open in its neighbours.
            mine = wanted[:, some]
            lower[:, some] = torch.where(mine, low.fmax(lower[:, some]), lower[:, some])
            upper[:, some] = torch.where(mine, (-high).fmin(upper[:, some]), upper[:, some])
        return Interval(lower.view(shape), upper.view(shape))

    def _folded(self, rows: Tensor, scores: Interval) -> tuple[Tensor, Tensor]:
        """Margins as linear functions of the last step: coefficients (a, R, ...), constants."""
        target = self.target[rows][:, None]
        n_outputs = scores.lower[0].numel()
        middle = self._decision.middle[rows, None].to(DOUBLE)
        if n_outputs == 1:
            sign = 2 * target.to(DOUBLE) - 1
            threshold = middle.logit() if self._network.ending == "sigmoid" else middle
            coefficients, constant = sign[:, None], -sign * threshold
        else:
            every = torch.eye(n_outputs, dtype=DOUBLE, device=rows.device)
            rivals = torch.arange(n_outputs - 1, device=rows.device).expand(len(rows), -1)
            rivals = rivals + (rivals >= target)
            coefficients, constant = every[target] - every[rivals], every.new_zeros(())
            middle = middle.new_tensor(0.5)
        if self._network.ending != "none":
            # So that a softmax or sigmoid keeps the order as it is computed.
            room = 32 * torch.finfo(self._x.dtype).eps / torch.minimum(middle, 1 - middle)
            constant = constant - room
        shape = coefficients.shape[:2]
        return coefficients.view(*shape, *scores.lower.shape[1:]), constant.expand(shape)

    def _lowest(self, intervals: list[Interval], coefficients: Tensor, constant: Tensor) -> Tensor:
        """Lower bounds (n, R) of A z + constant for the last bounded step z."""
        pending = {len(intervals) - 1: coefficients}
        best = rounded_down(constant + intervals[-1].lowest(coefficients))
        for number in range(len(intervals) - 1, 0, -1):
            if number not in pending:
                continue
            step = self._network.steps[number - 1]
            if self._method == "ibp" and not isinstance(step.layer, Affine):
                break
            inputs = [intervals[each] for each in step.inputs]
            parts, change = step.layer.back(pending.pop(number), *inputs)
            constant = rounded_down(constant + change)
            for each, part in zip(step.inputs, parts, strict=True):
                if each in pending:
                    part, change = joined(pending[each], part, intervals[each])
                    constant = rounded_down(constant + change)
                pending[each] = part
            # Any layers that separate the units from the input give a bound.
            bound = constant
            for each, part in pending.items():
                bound = rounded_down(bound + intervals[each].lowest(part))
            best = best.fmax(bound)
        return best

    def _compare_with_outputs(self) -> None:
        """Raise unless the network's outputs at the rows are within the bounds of their points.

        Hooks, a forward that was replaced, or arithmetic of less precision would void the proofs.
        """
        point = self._x.to(DOUBLE)
        outputs = self._decision.outputs.to(DOUBLE)
        for rows in torch.arange(len(point), device=point.device).split(self._batch_size):
            scores = self._intervals(Interval(point[rows], point[rows]), tighten=False)[-1]
            lower, upper = (end.reshape(outputs[rows].shape) for end in scores)
            if self._network.ending == "none":
                holds = (lower <= outputs[rows]) & (outputs[rows] <= upper)
            else:
                expected = _ENDINGS[self._network.ending]((lower + upper) / 2)
                holds = (expected - outputs[rows]).abs() <= 1e-3 * (1 + expected.abs())
            if not holds.all():
                raise NotApplicableError(
                    "cannot be certified: its outputs are not those of its layers one after the "
                    "other, give or take rounding; hooks, replaced methods, or sums in less "
                    "precision than that of the rows (TF32, autocast) would be the reason"
                )


def certified_scale(
    network: nn.Module,
    x: Tensor,
    lower: Tensor,
    upper: Tensor,
    target: Tensor | int | None = None,
    *,
    n_halvings: int = 10,
    **settings: Any,
) -> Tensor:
    """The largest scale (n,) at which each box is proven invariant: see `Certifier.scale`.

    Args:
        network: as for `Certifier`.
        x: (n, ...) rows.
        lower: (n, ...) lower ends of the boxes around them.
        upper: (n, ...) upper ends.
        target: (n,) the class to keep, or one for all; by default the network's own.
        n_halvings: the scale is found to 2^-n_halvings.
        **settings: of `Certifier`.

    Example:
        >>> network = nn.Linear(2, 2)
        >>> network.weight.data, network.bias.data = torch.eye(2), torch.zeros(2)
        >>> x = torch.tensor([[2.0, 1.0]])  # the class is that of the larger number
        >>> certified_scale(network, x, x - 1, x + 1).tolist()
        [0.4990234375]
    """
    certifier = Certifier(network, x, target, **settings)
    return certifier.scale(lower, upper, n_halvings=n_halvings)
