"""How much a box leaves the class: the constraint of the maximal invariant perturbation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from xai_adapters.core.box_shapes import BoxShape
from xai_adapters.core.outputs import (
    OutputKind,
    are_probabilities,
    checked_target,
    class_logits,
    class_probabilities,
)
from xai_adapters.errors import InvalidInputError, PredictorError

HingeOn = Literal["probabilities", "logits"]
OverClasses = Literal["sum", "mean", "max"]

# The way back through a model costs about twice the way forth. While fewer points than this share
# violate, looking at all and then going both ways with those alone is the cheaper.
_FEW = 0.5


def check_hinge(on: str, over_classes: str) -> None:
    """Raise `InvalidInputError` unless these are a `HingeOn` and an `OverClasses`."""
    for name, value, known in (
        ("hinge_on", on, get_args(HingeOn)),
        ("over_classes", over_classes, get_args(OverClasses)),
    ):
        if value not in known:
            raise InvalidInputError(f"{name} must be one of {', '.join(known)}; it is {value!r}")


@dataclass(frozen=True)
class Estimate:
    """What draws from the boxes of a rows showed.

    Attributes:
        hinge: (a,) its mean over the draws.
        violation_rate: (a,) share of the draws with a positive one, that is, with another class.
        undefined: (a,) whether the model answered NaN at one; it counts as a violation by 1.
    """

    hinge: Tensor
    violation_rate: Tensor
    undefined: Tensor


class ExpectedHinge:
    """The hinge of Proposition 3.1 around given rows, estimated from draws of their boxes.

    For a row of class c it is the mean over points p of the box of sum_{j != c}
    max(0, f_j(p) - f_c(p)). With f the class probabilities it lies in [0, 1] for any number of
    classes; with f the logits it grows with the distance to the decision, even where
    probabilities are flat.

    Args:
        model: gives (m, K) class outputs, (m, 1) or (m,) numbers, for rows (m, ...).
        x: (n, ...) rows, the centres of the boxes.
        target: (n,) classes c; by default the model's own.
        shape: of the boxes; by default symmetric.
        row_data: tensors with one entry a row, handed to the model behind the rows.
        output: what the model returns.
        threshold: of a single output.
        on: what f is.
        over_classes: "sum" as above; its "mean" over all K classes, as in the authors' code; or
            the largest term alone, "max".
        batch_size: rows the model sees at once, None for all.

    Attributes:
        target: (n,) classes c.
        centre_kept: (n,) whether the row itself has class c.
        centre_undecided: (n,) whether another class has as large an output as c at the row.
        n_classes: K, 2 for a single output.

    Raises:
        InvalidInputError: if `target` does not fit the rows or the model's classes.
        PredictorError: if the model returns NaN or not one row of outputs for each row.
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        target: Tensor | None = None,
        *,
        shape: BoxShape | None = None,
        row_data: tuple[Tensor, ...] = (),
        output: OutputKind = "auto",
        threshold: float | None = None,
        on: HingeOn = "probabilities",
        over_classes: OverClasses = "sum",
        batch_size: int | None = None,
    ) -> None:
        self._model, self._x, self._row_data = model, x, row_data
        self._shape = shape or BoxShape(x)
        self._threshold, self._batch_size = threshold, batch_size
        self._read = class_logits if on == "logits" else class_probabilities
        self._over_classes = over_classes
        with torch.no_grad():
            blocks = torch.arange(len(x), device=x.device).split(batch_size or len(x))
            outputs = torch.cat([self._outputs(x[rows], rows) for rows in blocks])
        undefined = (outputs.isnan() | outputs.isposinf()).any(dim=1)
        if undefined.any():
            row = int(undefined.nonzero()[0])
            raise PredictorError(f"the model returned NaN or inf, first for row {row}")
        # Judged where the row is, and row by row: a neighbour must not change the reading.
        self._is_probability = (
            are_probabilities(outputs)
            if output == "auto"
            else torch.full((len(x),), output == "probabilities", device=x.device)
        )
        scores = self._scores(outputs, slice(None))
        if target is None:
            self.target = scores.argmax(dim=1)
        else:
            self.target = checked_target(target, scores)
        self.n_classes = scores.shape[1]
        own = scores.gather(1, self.target[:, None])
        others = scores.scatter(1, self.target[:, None], -torch.inf)
        self.centre_kept = (own >= others).all(dim=1)
        self.centre_undecided = (own == others).any(dim=1)
        # The other classes, likeliest first.
        self._rivals = others.argsort(dim=1, descending=True, stable=True)[:, :-1]
        # To know which points violate the host has to wait for the device, which only a CPU does
        # for nothing.
        self._may_look_first = x.device.type == "cpu"
        self._looks_first = self._may_look_first

    def estimate(
        self,
        rows: Tensor,
        width: Tensor,
        draws: Tensor,
        slope: Tensor | None = None,
        *,
        sharpen: bool = False,
    ) -> Estimate:
        """Estimate the hinge, and on the way its derivative.

        Args:
            rows: (a,) numbers of the rows.
            width: (a, s, ...) of each row's box.
            draws: (M, ...) of u in [0, 1]^d, shared by the rows; or (a, M, ...), each its own.
            slope: if given, an (a, s, ...) tensor that is overwritten by the derivative of the
                mean hinge with respect to `width`.
            sharpen: attack: `draws` are corners of each row's box, and each is overwritten by the
                one that its slope points to. They take turns with the other classes, likeliest
                first, each looking at its own class alone, and the hinge is the sum over classes
                of the mean over a class's corners (with "max": the mean over corners of the
                largest term).
        """
        n_draws = draws.shape[draws.ndim - self._x.ndim]
        batch_size = self._batch_size or len(rows) * n_draws
        hinge, violations = width.new_zeros(len(rows)), width.new_zeros(len(rows))
        undefined = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        weight, rivals = width.new_full((n_draws,), 1 / n_draws), None
        if sharpen:
            weight, rivals = self._matched(rows, weight)
        if slope is not None:
            slope.zero_()
        # Whole rows with all their draws while they fit, else some draws of one row.
        n_rows, n_points = max(1, batch_size // n_draws), min(n_draws, batch_size)
        for block in _slices(len(rows), n_rows):
            for some in _slices(n_draws, n_points):
                u = draws[some] if draws.ndim == self._x.ndim else draws[block, some]
                leaf = width[block].detach().requires_grad_(slope is not None)
                with torch.set_grad_enabled(slope is not None):
                    placed = self._shape.points(rows[block], leaf, u)
                n_each = placed.shape[1]
                points = placed.detach().flatten(0, 1).to(self._x.dtype)
                of_row = rows[block].repeat_interleave(n_each)
                rival = None if rivals is None else rivals[block, some].flatten()
                excess, pull = self._excess_and_pull(points, of_row, rival, slope is not None)
                excess = excess.to(width.dtype).view(-1, n_each)
                undefined[block] |= excess.isnan().any(dim=1)
                excess = excess.nan_to_num(1.0)
                violates = excess > 0
                hinge[block] += (excess.relu() * weight[some]).sum(dim=1)
                violations[block] += violates.sum(dim=1)
                if slope is None or pull is None:
                    continue
                # One bad number must not spoil the widths of all later steps.
                pull = pull.nan_to_num_(0, 0, 0).view_as(placed).to(placed.dtype)
                each = (1,) * (placed.ndim - 2)
                counted = pull * (violates * weight[some]).view(*violates.shape, *each)
                (moved,) = torch.autograd.grad(placed, leaf, counted)
                slope[block] += moved
                if sharpen:
                    worst = self._shape.corner(rows[block], pull)
                    draws[block, some] = torch.where(pull == 0, u, worst)
        if slope is not None and self._may_look_first:
            self._looks_first = bool(violations.mean() < _FEW * n_draws)
        return Estimate(hinge, violations / n_draws, undefined)

    def _excess_and_pull(
        self, points: Tensor, rows: Tensor, rival: Tensor | None, wanted: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The hinge (m,) at points (m, ...), and its gradient there if it is wanted.

        With a rival (m,) it is the difference to that class, negative where the class is kept.
        """
        if not wanted or (self._looks_first and rival is None):
            with torch.no_grad():
                excess = self._excess(points, rows, rival)
            if not wanted:
                return excess, None
            # Where the class is kept the hinge is flat, and there is no need to go back.
            some = (excess > 0).nonzero()[:, 0]
            pull = torch.zeros_like(points)
            if len(some):
                pull[some] = self._pull(points[some], rows[some], None)[1]
            return excess, pull
        return self._pull(points, rows, rival)

    def _pull(self, points: Tensor, rows: Tensor, rival: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            points = points.requires_grad_()
            excess = self._excess(points, rows, rival)
            if not excess.requires_grad:
                raise PredictorError(
                    "the model's outputs have no gradient with respect to the rows; the box needs "
                    "a differentiable model, FIMAP does not"
                )
            (pull,) = torch.autograd.grad(excess.sum(), points)
        return excess.detach(), pull

    def _excess(self, points: Tensor, rows: Tensor, rival: Tensor | None) -> Tensor:
        scores = self._scores(self._outputs(points, rows), rows)
        own = scores.gather(1, self.target[rows][:, None])
        if rival is not None:
            if self._over_classes != "max":
                return (scores.gather(1, rival[:, None]) - own)[:, 0]
            return (scores.scatter(1, self.target[rows][:, None], -torch.inf) - own).amax(dim=1)
        excess = (scores - own).relu()
        if self._over_classes == "max":
            return excess.amax(dim=1)
        return excess.sum(dim=1) if self._over_classes == "sum" else excess.mean(dim=1)

    def _matched(self, rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What each corner's hinge counts (M,), and the class (a, M) that it attacks."""
        n_draws = len(weight)
        n_rivals = min(n_draws, self.n_classes - 1)
        number = torch.arange(n_draws, device=rows.device) % n_rivals
        if self._over_classes != "max":
            n_same = n_draws // n_rivals + (number < n_draws % n_rivals)
            n_terms = self.n_classes if self._over_classes == "mean" else 1
            weight = 1 / (n_same * n_terms).to(weight.dtype)
        return weight, self._rivals[rows][:, number]

    def _scores(self, outputs: Tensor, rows: Tensor | slice) -> Tensor:
        # Of 16-bit numbers neither a softmax nor a difference is worth much.
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return self._read(outputs, self._is_probability[rows], self._threshold)

    def _outputs(self, points: Tensor, rows: Tensor) -> Tensor:
        outputs = self._model(points, *(entries[rows] for entries in self._row_data))
        if (
            not isinstance(outputs, Tensor)
            or outputs.ndim not in (1, 2)
            or len(outputs) != len(rows)
        ):
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise PredictorError(
                f"the model was given {len(rows)} rows and returned {got}; a tensor of class "
                "outputs, one row for each, was expected"
            )
        if not outputs.is_floating_point():
            raise PredictorError(f"the model returned {outputs.dtype}, not floating point outputs")
        return outputs.view(len(rows), -1)


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
