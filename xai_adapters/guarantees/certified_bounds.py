"""Proofs that a box is invariant, by interval bounds and CROWN."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor, nn

from xai_adapters.errors import BoxWarning, NotApplicableError
from xai_adapters.guarantees.bounded_layers import DOUBLE, Interval
from xai_adapters.guarantees.network_bounds import Method, NetworkBounds
from xai_adapters.guarantees.sampling_bound import largest_safe_scale
from xai_adapters.guarantees.scaled_box import check_box, scaled_box
from xai_adapters.guarantees.traced_network import trace
from xai_adapters.model.decision import Decision
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import check_choice, check_whole_number, named_options

_ENDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: scores.softmax(dim=1),
    "log_softmax": lambda scores: scores.log_softmax(dim=1),
    "sigmoid": torch.sigmoid,
}


class Certifier:
    """Lower bounds on the margins of a network in boxes around given rows.

    "ibp" bounds layer after layer by intervals (Gowal et al. 2018), with the margins folded into
    the last layers. "crown" bounds the margins, and each unit whose activation may be on or off, by
    linear functions of the input (Zhang et al. 2018). "crown-ibp" does so for the margins only and
    bounds the units by intervals. On the way back to the input the intervals of every layer give a
    bound too, and the best is taken, so that neither is looser than "ibp". All three are exact for
    linear networks.

    The bounds hold for the network as computed in the dtype of the rows, rounding included, if sums
    and products are rounded one by one, in any order. They do not hold under autocast or TF32, nor
    for convolutions by Winograd's or Fourier's methods.

    Args:
        network: a module of layers that `trace` supports; bounded as it computes in eval mode.
        x: (n, ...) rows, float32 or float64.
        target: (n,) the class to keep, or one for all; by default the network's own at `x`.
        method: "crown" is the tightest and follows every undecided unit back to the input, which is
            feasible for some thousand units; "crown-ibp" follows only the classes; "ibp" nothing.
        output_type: what the network returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: for a network with one output, the value that separates its two classes.
        internal_batch_size: rows, times units of each, that are followed back at once. Memory
            grows with this number times the largest layer, at 8 bytes.

    Attributes:
        target: (n,) the class to keep.

    Raises:
        NotApplicableError: for a layer without known bounds, which is named; for a network whose
            outputs are not those of its layers; for rows of another dtype.
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

    @named_options()
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
        check_choice("method", method, get_args(Method))
        check_whole_number("internal_batch_size", internal_batch_size, at_least=1)
        if not isinstance(network, nn.Module):
            raise NotApplicableError(
                f"cannot be certified: a {type(network).__name__} has no layers to trace"
            )
        if x.dtype not in (torch.float32, torch.float64):
            raise NotApplicableError(
                "cannot be certified: rounding is bounded for rows of float32 and float64, not of "
                f"{x.dtype}"
            )
        self._x = x.detach()
        with left_as_found(network, x.device):
            self._bounds = NetworkBounds(trace(network, x.dtype), method, internal_batch_size)
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
        if (self._ending == "sigmoid") != single and self._ending != "none":
            raise NotApplicableError(
                "cannot be certified: a softmax at the end needs at least two outputs, a sigmoid "
                "exactly one"
            )
        self._compare_with_outputs()

    @property
    def _ending(self) -> str:
        return self._bounds.network.ending

    def margin(self, lower: Tensor, upper: Tensor) -> Tensor:
        """A lower bound on the target's lead over every other class in each box.

        A positive bound proves that the box is invariant: no point of it has another class. A bound
        of 0 or less proves nothing.

        Args:
            lower: (n, ...) lower bounds of the boxes, in the dtype of the rows.
            upper: (n, ...) upper bounds.

        Returns:
            (n,) float64, in the unit of the last layer before a softmax or sigmoid.

        Raises:
            InvalidInputError: for boxes that do not contain their rows.
        """
        check_box(self._x, lower, upper)
        return self._margin(torch.arange(len(lower), device=lower.device), lower, upper)

    @named_options()
    def scale(self, lower: Tensor, upper: Tensor, *, n_halvings: int = 10) -> Tensor:
        """The largest scale at which each box is proven invariant, found by halving.

        Args:
            lower: (n, ...) lower bounds of the boxes, in the dtype of the rows.
            upper: (n, ...) upper bounds.
            n_halvings: the scale is found to 2^-n_halvings.

        Returns:
            (n,) scales s in [0, 1] for which [x - s (x - lower), x + s (upper - x)] was proven
            invariant; 0 where no box was, as for rows whose class is not their target.

        Raises:
            InvalidInputError: for boxes that do not contain their rows.

        Warns:
            BoxWarning: if the bounds cannot even prove the class of a row itself, so that no box
                around it can be certified, however small.
        """
        check_box(self._x, lower, upper)
        check_whole_number("n_halvings", n_halvings, at_least=1)

        def not_proven(rows: Tensor, scale: Tensor, _: int) -> Tensor:
            box = scaled_box(self._x[rows], lower[rows], upper[rows], scale)
            return ~(self._margin(rows, *box) > 0)

        scale = largest_safe_scale(not_proven, len(lower), n_halvings + 1, lower.device)
        self._warn_where_rows_are_unproven((scale == 0).nonzero()[:, 0])
        return scale

    def _warn_where_rows_are_unproven(self, rows: Tensor) -> None:
        """Warn about those of the rows (a,) whose own class the bounds cannot prove."""
        rows = rows[(self._decision.has_target & ~self._decision.undecided)[rows]]
        if len(rows):
            rows = rows[~(self._margin(rows, self._x[rows], self._x[rows]) > 0)]
        if len(rows):
            warnings.warn(
                f"nothing can be proven around {len(rows)} of {len(self._x)} rows, the first of "
                f"them row {int(rows[0])}: with method='{self._bounds.method}' the rounding errors "
                "of each layer, amplified by the layers after it, exceed the margin at the row "
                "itself; the network is too deep for such bounds",
                BoxWarning,
                stacklevel=4,
            )

    @torch.no_grad()
    def _margin(self, rows: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Lower bounds (a,) in boxes (a, ...) around the rows numbered `rows` (a,)."""
        found, batch_size = [], self._bounds.batch_size
        for block, low, high in zip(
            *(each.split(batch_size) for each in (rows, lower, upper)), strict=True
        ):
            box = Interval(low.to(DOUBLE), high.to(DOUBLE))
            intervals = self._bounds.intervals(box, tighten=self._bounds.method == "crown")
            coefficients, constant = self._folded(block, intervals[-1])
            at_once = max(1, batch_size // len(block))
            rivals = zip(
                coefficients.split(at_once, dim=1), constant.split(at_once, dim=1), strict=True
            )
            lowest = [self._bounds.lowest(intervals, *some) for some in rivals]
            found.append(torch.cat(lowest, dim=1).amin(dim=1))
        return torch.cat(found)

    def _folded(self, rows: Tensor, scores: Interval) -> tuple[Tensor, Tensor]:
        """Margins as linear functions of the last step: coefficients (a, R, ...), constants."""
        target = self.target[rows][:, None]
        n_outputs = scores.lower[0].numel()
        middle = self._decision.middle[rows, None].to(DOUBLE)
        if n_outputs == 1:
            sign = 2 * target.to(DOUBLE) - 1
            threshold = middle.logit() if self._ending == "sigmoid" else middle
            coefficients, constant = sign[:, None], -sign * threshold
        else:
            every = torch.eye(n_outputs, dtype=DOUBLE, device=rows.device)
            rivals = torch.arange(n_outputs - 1, device=rows.device).expand(len(rows), -1)
            rivals = rivals + (rivals >= target)
            coefficients, constant = every[target] - every[rivals], every.new_zeros(())
            middle = middle.new_tensor(0.5)
        if self._ending != "none":
            # Room for the rounding of the softmax or sigmoid itself.
            room = 32 * torch.finfo(self._x.dtype).eps / torch.minimum(middle, 1 - middle)
            constant = constant - room
        shape = coefficients.shape[:2]
        return coefficients.view(*shape, *scores.lower.shape[1:]), constant.expand(shape)

    def _compare_with_outputs(self) -> None:
        """Raise unless the network's outputs at the rows are within their bounds.

        Hooks, a replaced forward or arithmetic of less precision would void the proofs.
        """
        point = self._x.to(DOUBLE)
        outputs = self._decision.outputs.to(DOUBLE)
        for rows in torch.arange(len(point), device=point.device).split(self._bounds.batch_size):
            scores = self._bounds.intervals(Interval(point[rows], point[rows]), tighten=False)[-1]
            lower, upper = (bound.reshape(outputs[rows].shape) for bound in scores)
            if self._ending == "none":
                holds = (lower <= outputs[rows]) & (outputs[rows] <= upper)
            else:
                expected = _ENDINGS[self._ending]((lower + upper) / 2)
                holds = (expected - outputs[rows]).abs() <= 1e-3 * (1 + expected.abs())
            if not holds.all():
                raise NotApplicableError(
                    "cannot be certified: its outputs differ from those of its layers by more than "
                    "rounding; likely causes are hooks, replaced methods, or sums in less "
                    "precision than that of the rows (TF32, autocast)"
                )


@named_options()
def certified_scale(
    network: nn.Module,
    x: Tensor,
    lower: Tensor,
    upper: Tensor,
    target: Tensor | int | None = None,
    *,
    n_halvings: int = 10,
    method: Method = "crown",
    output_type: OutputType = "auto",
    threshold: float | None = None,
    internal_batch_size: int = 256,
) -> Tensor:
    """The largest scale (n,) at which each box is proven invariant: see `Certifier.scale`.

    Args:
        network: as for `Certifier`, like all that is not explained here.
        x: (n, ...) rows.
        lower: (n, ...) lower bounds of the boxes around them.
        upper: (n, ...) upper bounds.
        target: (n,) the class to keep, or one for all; by default the network's own.
        n_halvings: the scale is found to 2^-n_halvings.
        method: of `Certifier`.
        output_type: of `Certifier`.
        threshold: of `Certifier`.
        internal_batch_size: of `Certifier`.

    Example:
        >>> network = nn.Linear(2, 2)
        >>> network.weight.data, network.bias.data = torch.eye(2), torch.zeros(2)
        >>> x = torch.tensor([[2.0, 1.0]])  # the class is that of the larger number
        >>> certified_scale(network, x, x - 1, x + 1).tolist()
        [0.4990234375]
    """
    certifier = Certifier(
        network,
        x,
        target,
        method=method,
        output_type=output_type,
        threshold=threshold,
        internal_batch_size=internal_batch_size,
    )
    return certifier.scale(lower, upper, n_halvings=n_halvings)
