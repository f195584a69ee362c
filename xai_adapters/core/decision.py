"""What a model decides at points around rows, as scores whose differences are margins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_adapters.core.outputs import (
    OutputKind,
    are_probabilities,
    check_output_kind,
    checked_target,
)
from xai_adapters.core.rows import require_finite
from xai_adapters.errors import InvalidInputError, PredictorError


class Decision:
    """The class that a model gives to each row, and by how much points around it keep that class.

    Scores are logits, or what is as good: class probabilities are read as their logarithms, and one
    output as its distance from the decision threshold (on the logit scale if it is a probability).

    Args:
        model: gives (m, K) class outputs, (m, 1) or (m,) numbers, for rows (m, ...).
        x: (n, ...) rows.
        target: (n,) classes c, or one for all; by default the model's own.
        output: what the model returns: "probabilities", "logits", or "auto" to look at each row.
        threshold: of a single output, what separates its classes; by default 0.5 for
            probabilities, 0 for logits.
        batch_size: rows the model sees at once, None for all.

    Attributes:
        target: (n,) classes c.
        kept: (n,) whether no other class has a higher score at the row itself.
        outputs: (n, K) what the model returned for the rows.
        n_classes: K, 2 for a single output.
        middle: (n,) the threshold of a single output.

    Raises:
        InvalidInputError: for rows that are not finite floats, or a target that is no class.
        PredictorError: if the model returns NaN or not one row of outputs for each row.

    Example:
        >>> decision = Decision(lambda x: x, torch.tensor([[0.1, 0.9]]), output="probabilities")
        >>> decision.target.tolist(), decision.kept.tolist()
        ([1], [True])
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        x: Tensor,
        target: Tensor | int | None = None,
        *,
        output: OutputKind = "auto",
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_output_kind(output)
        if not x.is_floating_point() or x.ndim < 2 or x.numel() == 0:
            raise InvalidInputError(
                "rows must be floating point, with a row of features for each example; got "
                f"{x.dtype} of shape {tuple(x.shape)}"
            )
        require_finite(x, "x")
        if batch_size is not None and batch_size < 1:
            raise InvalidInputError(f"internal_batch_size must be at least 1; it is {batch_size}")
        self._model = model
        with torch.no_grad():
            self.outputs = torch.cat([self._ask(some) for some in x.split(batch_size or len(x))])
        undefined = (self.outputs.isnan() | self.outputs.isposinf()).any(dim=1)
        if undefined.any():
            row = int(undefined.nonzero()[0])
            raise PredictorError(f"the model returned NaN or inf, first for row {row}")
        # Judged where the row is, and row by row: a neighbour must not change the reading.
        self._is_probability = (
            are_probabilities(self.outputs)
            if output == "auto"
            else torch.full((len(x),), output == "probabilities", device=x.device)
        )
        unset = torch.where(self._is_probability, 0.5, 0.0).to(self.outputs)
        self.middle = unset if threshold is None else torch.full_like(unset, threshold)
        every = torch.arange(len(x), device=x.device)
        scores = self._read(self.outputs, every)
        self.n_classes = scores.shape[1]
        self.target = scores.argmax(dim=1) if target is None else checked_target(target, scores)
        self.kept = self.lead(scores, every) >= 0

    def scores(self, points: Tensor, rows: Tensor) -> Tensor:
        """Scores (m, K) at points (m, ...) that belong to the rows numbered `rows` (m,)."""
        return self._read(self._ask(points), rows)

    def lead(self, scores: Tensor, rows: Tensor) -> Tensor:
        """The target's score minus the highest other one (m,); below 0 another class is ahead."""
        own = self.target[rows][:, None]
        others = scores.scatter(1, own, -torch.inf).amax(dim=1)
        return scores.gather(1, own)[:, 0] - others

    def rivals(self, rows: Tensor, at_most: int) -> Tensor:
        """The classes (m, r) other than the target, the strongest at the row first."""
        scores = self._read(self.outputs[rows], rows)
        others = scores.scatter(1, self.target[rows, None], -torch.inf)
        return others.topk(min(at_most, self.n_classes - 1), dim=1).indices

    def _read(self, outputs: Tensor, rows: Tensor) -> Tensor:
        is_probability = self._is_probability[rows]
        # Not the logarithm of 0, whose derivative would spoil that of all other points.
        tiny = torch.finfo(outputs.dtype).tiny
        if outputs.shape[1] > 1:
            return torch.where(is_probability[:, None], outputs.clamp(min=tiny).log(), outputs)
        score, middle = outputs[:, 0], self.middle[rows]
        epsilon = torch.finfo(outputs.dtype).eps
        odds = torch.logit(score, eps=epsilon) - torch.logit(middle, eps=epsilon)
        score = torch.where(is_probability, odds, score - middle)
        return torch.stack((torch.zeros_like(score), score), dim=1)

    def _ask(self, points: Tensor) -> Tensor:
        outputs = self._model(points)
        if (
            not isinstance(outputs, Tensor)
            or outputs.ndim not in (1, 2)
            or len(outputs) != len(points)
            or not outputs.is_floating_point()
        ):
            got = (
                f"{outputs.dtype} of shape {tuple(outputs.shape)}"
                if isinstance(outputs, Tensor)
                else f"a {type(outputs).__name__}"
            )
            raise PredictorError(
                f"the model was given {len(points)} rows and returned {got}; a floating point "
                "tensor of class outputs, one row for each, was expected"
            )
        return outputs.view(len(points), -1)
