"""How much a box leaves the class: the constraint of the maximal invariant perturbation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_adapters.core.outputs import OutputKind, are_probabilities, class_probabilities
from xai_adapters.errors import InvalidInputError, PredictorError


class ExpectedHinge:
    """The summed hinge of Proposition 3.1 around given rows, estimated from draws of t.

    For a row x of class c and widths w it is the mean over draws of
    sum_{j != c} max(0, f_j(x + t * w) - f_c(x + t * w)), with f the class probabilities, and so
    lies in [0, 1] for any number of classes.

    Args:
        model: gives (m, K) class outputs, (m, 1) or (m,) numbers, for rows (m, ...).
        x: (n, ...) rows, the centres of the boxes.
        target: (n,) classes c; by default the model's own.
        row_data: tensors with one entry a row, handed to the model behind the rows.
        output: what the model returns.
        threshold: of a single output.
        batch_size: rows the model sees at once, None for all.

    Attributes:
        target: (n,) classes c.
        centre_kept: (n,) whether the row itself has class c.
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
        row_data: tuple[Tensor, ...] = (),
        output: OutputKind = "auto",
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._model, self._x, self._row_data = model, x, row_data
        self._threshold, self._batch_size = threshold, batch_size
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
        probabilities = class_probabilities(outputs, self._is_probability, threshold)
        if target is None:
            self.target = probabilities.argmax(dim=1)
        else:
            self.target = _checked_target(target, probabilities)
        self.n_classes = probabilities.shape[1]
        own = probabilities.gather(1, self.target[:, None])[:, 0]
        self.centre_kept = own >= probabilities.amax(dim=1)

    def estimate(
        self, rows: Tensor, width: Tensor, draws: Tensor, slope: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Estimate the hinge, and on the way its derivative.

        Args:
            rows: (a,) numbers of the rows.
            width: (a, ...) half the side of each row's box.
            draws: (M, ...) of t, shared by the rows.
            slope: if given, an (a, ...) tensor that is overwritten by the derivative of the mean
                hinge with respect to `width`.

        Returns:
            (a,) mean hinge, and (a,) share of the draws with a positive one, that is, with
            another class.
        """
        n_draws = len(draws)
        batch_size = self._batch_size or len(rows) * n_draws
        hinge, violations = width.new_zeros(len(rows)), width.new_zeros(len(rows))
        if slope is not None:
            slope.zero_()
        # Whole rows with all their draws while they fit, else some draws of one row.
        for block in torch.arange(len(rows), device=rows.device).split(
            max(1, batch_size // n_draws)
        ):
            centre = self._x[rows[block]].to(width.dtype)
            for t in draws.split(batch_size):
                points = torch.addcmul(centre[:, None], t, width[block][:, None]).flatten(0, 1)
                points = points.to(self._x.dtype)
                with torch.set_grad_enabled(slope is not None):
                    points.requires_grad_(slope is not None)
                    excess = self._excess(points, rows[block].repeat_interleave(len(t)))
                    total = excess.sum()
                excess_of_row = excess.detach().to(width.dtype).view(len(block), len(t))
                hinge[block] += excess_of_row.sum(dim=1)
                violations[block] += (excess_of_row > 0).sum(dim=1)
                if slope is not None:
                    (pull,) = torch.autograd.grad(total, points)
                    # One bad number must not spoil the widths of all later steps.
                    pull = pull.nan_to_num_(0, 0, 0).view(len(block), *t.shape)
                    slope[block] += torch.einsum("am...,m...->a...", pull.to(t.dtype), t)
        if slope is not None:
            slope /= n_draws
        return hinge / n_draws, violations / n_draws

    def _excess(self, points: Tensor, rows: Tensor) -> Tensor:
        """Summed hinge (m,) at points (m, ...) of the boxes around `rows` (m,)."""
        probabilities = class_probabilities(
            self._outputs(points, rows), self._is_probability[rows], self._threshold
        )
        own = probabilities.gather(1, self.target[rows][:, None])
        excess = (probabilities - own).clamp(min=0).sum(dim=1)
        if points.requires_grad and not excess.requires_grad:
            raise PredictorError(
                "the model's outputs have no gradient with respect to the rows; the box needs a "
                "differentiable model, FIMAP does not"
            )
        return excess

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


def _checked_target(target: Tensor, probabilities: Tensor) -> Tensor:
    n_rows, n_classes = probabilities.shape
    target = torch.as_tensor(target, device=probabilities.device)
    if target.is_floating_point() or target.shape not in ((), (1,), (n_rows,)):
        raise InvalidInputError(
            f"target must be one class number, or one for each of the {n_rows} rows; it is "
            f"{target.dtype} of shape {tuple(target.shape)}"
        )
    if ((target < 0) | (target >= n_classes)).any():
        raise InvalidInputError(
            f"target {target.flatten().tolist()[:8]} is not among the classes 0 to {n_classes - 1}"
        )
    return target.to(torch.int64).expand(n_rows)
