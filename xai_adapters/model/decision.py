"""What a model decides at points around rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xai_adapters.errors import PredictorError
from xai_adapters.model.answers import class_outputs
from xai_adapters.model.inputs import ask_with_copies
from xai_adapters.model.outputs import (
    OutputType,
    are_probabilities,
    check_output_type,
    checked_target,
    class_logits,
    class_probabilities,
)
from xai_adapters.utils.options import check_whole_number
from xai_adapters.utils.rows import check_rows


class Decision:
    """The class that a model gives to each row, and by how much points around it keep that class.

    Scores are logits, or what is as good: class probabilities are read as their logarithms, and one
    output as its distance from the decision threshold (on the logit scale if it is a probability).
    They are in 32 bits at least: of shorter numbers neither a softmax nor a difference is worth
    much.

    Args:
        model: gives (m, K) class outputs, (m, 1) or (m,) numbers, for rows (m, ...).
        x: (n, ...) rows.
        target: (n,) classes c, or one for all; by default the model's own.
        row_data: tensors with one entry a row, handed to the model behind the rows.
        output_type: what the model returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: of a single output, what separates its classes; by default 0.5 for
            probabilities, 0 for logits.
        batch_size: rows the model sees at once, None for all.

    Attributes:
        x: (n, ...) the rows.
        target: (n,) classes c.
        has_target: (n,) whether no other class has a higher score at the row itself.
        undecided: (n,) whether another class has just as high a score there.
        outputs: (n, K) what the model returned for the rows.
        n_classes: K, 2 for a single output.
        middle: (n,) the threshold of a single output.
        batch_size: rows the model sees at once, None for all.

    Raises:
        InvalidInputError: for rows that are not finite floats, or a target that is no class.
        PredictorError: if the model returns NaN or not one row of outputs for each row.

    Example:
        >>> x = torch.tensor([[0.1, 0.9]])
        >>> decision = Decision(lambda x: x, x, output_type="probabilities")
        >>> decision.target.tolist(), decision.has_target.tolist()
        ([1], [True])
    """

    def __init__(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        target: Tensor | int | None = None,
        *,
        row_data: tuple[Tensor, ...] = (),
        output_type: OutputType = "auto",
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_output_type(output_type)
        check_rows(x, "x")
        check_whole_number("internal_batch_size", batch_size, at_least=1, optional=True)
        self.x, self.batch_size = x, batch_size
        self._model, self._row_data, self._threshold = model, row_data, threshold
        every = torch.arange(len(x), device=x.device)
        with torch.no_grad():
            blocks = every.split(batch_size or len(x))
            self.outputs = torch.cat([self._ask(x[rows], rows) for rows in blocks])
        undefined = (self.outputs.isnan() | self.outputs.isposinf()).any(dim=1)
        if undefined.any():
            row = int(undefined.nonzero()[0])
            raise PredictorError(f"the model returned NaN or inf, first for row {row}")
        # Judged at the row itself, row by row: a neighbour must not change how it is read.
        is_probability = (
            are_probabilities(self.outputs)
            if output_type == "auto"
            else torch.full((len(x),), output_type == "probabilities", device=x.device)
        )
        # Nearly always all rows are read alike, which saves most of the work.
        alike = bool(is_probability[0]) if is_probability.all() == is_probability.any() else None
        self._is_probability = is_probability if alike is None else alike
        unset = torch.where(is_probability, 0.5, 0.0).to(self.outputs)
        self.middle = unset if threshold is None else torch.full_like(unset, threshold)
        self._own_scores = self._read(class_logits, self.outputs, every)
        self.n_classes = self._own_scores.shape[1]
        self.target = (
            self._own_scores.argmax(dim=1)
            if target is None
            else checked_target(target, self._own_scores)
        )
        lead = self.lead(self._own_scores, every)
        self.has_target, self.undecided = lead >= 0, lead == 0

    def scores(self, points: Tensor, rows: Tensor) -> Tensor:
        """Scores (m, K) at points (m, ...) that belong to the rows numbered `rows` (m,)."""
        return self._read(class_logits, self._ask(points, rows), rows)

    def probabilities(self, points: Tensor, rows: Tensor) -> Tensor:
        """Class probabilities (m, K) at points (m, ...) that belong to rows (m,)."""
        return self._read(class_probabilities, self._ask(points, rows), rows)

    def has_target_at(self, points: Tensor, rows: Tensor) -> Tensor:
        """Whether (m,) no class has a higher score than the target at points (m, ...) of rows."""
        outputs = self._ask(points, rows)
        if outputs.shape[1] == 1:
            outputs = self._read(class_logits, outputs, rows)
        own = outputs.gather(1, self.target[rows][:, None])[:, 0]
        # Outputs of either kind rank classes alike; NaN and infinity keep nothing.
        return own - outputs.amax(dim=1) >= 0

    def lead(self, scores: Tensor, rows: Tensor) -> Tensor:
        """The target's score minus the highest other one (m,); below 0 another class is ahead."""
        own = self.target[rows][:, None]
        others = scores.scatter(1, own, -torch.inf).amax(dim=1)
        return scores.gather(1, own)[:, 0] - others

    def rivals(self, rows: Tensor, at_most: int) -> Tensor:
        """The classes (m, r) other than the target, the strongest at the row first."""
        others = self._own_scores[rows].scatter(1, self.target[rows, None], -torch.inf)
        at_most = min(at_most, self.n_classes - 1)
        return others.argsort(dim=1, descending=True, stable=True)[:, :at_most]

    def _read(
        self,
        read: Callable[[Tensor, Tensor | bool, float | None], Tensor],
        outputs: Tensor,
        rows: Tensor,
    ) -> Tensor:
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        of = self._is_probability
        return read(outputs, of if isinstance(of, bool) else of[rows], self._threshold)

    def _ask(self, points: Tensor, rows: Tensor) -> Tensor:
        # A copy: the model may work in place, and these points are still needed.
        own = [entries[rows] for entries in self._row_data]
        answer = ask_with_copies(self._model, lambda lent: self._model(lent, *own), points)
        outputs = class_outputs(answer, "the model")
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
        return outputs.reshape(len(points), -1).clone()
