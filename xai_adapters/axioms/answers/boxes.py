"""How explainers that answer with a box are called, and what they answer.

An explainer under test may be

- an `InvariantBox`, or whatever has its `solve(model, rows, target)` and its
  `replace(max_width=...)`;
- the registry's: `boxes(rows, target, max_width=...)`;
- a callable of `(rows, target)`, or of `(rows, target, max_width=...)` if it takes a bound C on
  widths, a number or one for each feature.

It answers with half widths (n, d), with an object that has a `width`, or with one that has bounds
`lower` and `upper`; its `violating_mass`, if it has one, is the share of each box that may violate,
by its own account.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai_adapters.axioms.answers.attributions import UnusableAnswerError, answered
from xai_adapters.errors import NotApplicableError


@dataclass(frozen=True)
class Box:
    """Boxes around n rows.

    Attributes:
        lower: (n, d) float64.
        upper: (n, d) float64.
        violating_mass: the share of a box that may have another class, by its own account.
    """

    lower: Tensor
    upper: Tensor
    violating_mass: float

    @property
    def width(self) -> Tensor:
        """Half the side (n, d) in each feature."""
        return (self.upper - self.lower) / 2

    def points(self, share: Tensor) -> Tensor:
        """Points (n, m, d) at shares (m, d) in [0, 1] of the way from one end to the other."""
        return torch.lerp(self.lower[:, None], self.upper[:, None], share)


Boxes = Callable[..., Box]


def boxing(made: Any, model: nn.Module) -> Boxes:
    """However a box is asked for, as a function of (rows, target, max_width=None).

    Raises:
        UnusableAnswerError: for something that cannot be called for boxes.

    Example:
        >>> boxes = boxing(lambda rows, target: torch.ones_like(rows), torch.nn.Identity())
        >>> box = boxes(torch.zeros(1, 2), torch.zeros(1))
        >>> box.lower.tolist(), box.width.tolist()
        ([[-1.0, -1.0]], [[1.0, 1.0]])
    """
    call = _solving(made, model) if hasattr(made, "solve") else getattr(made, "boxes", made)
    if not callable(call):
        raise UnusableAnswerError(
            f"make returned a {type(made).__name__}; an object with solve(model, rows, target) "
            "or boxes(rows, target), or a callable of these two, was expected"
        )
    takes_bound = "max_width" in inspect.signature(call).parameters

    def boxes(rows: Tensor, target: Tensor, max_width: Tensor | None = None) -> Box:
        named: dict[str, Any] = {}
        if max_width is not None:
            if not takes_bound:
                raise NotApplicableError("it takes no bound on widths")
            named["max_width"] = max_width.clone()
        return _read(call(rows.clone(), target.clone(), **named), rows)

    return boxes


def _solving(solver: Any, model: nn.Module) -> Callable[..., Any]:
    def solve(rows: Tensor, target: Tensor, max_width: Tensor | None = None) -> Any:
        chosen = solver if max_width is None else solver.replace(max_width=max_width)
        return chosen.solve(model, rows, target)

    return solve


def _read(answer: Any, rows: Tensor) -> Box:
    if hasattr(answer, "lower") and hasattr(answer, "upper"):
        lower, upper = answered(answer.lower, rows), answered(answer.upper, rows)
    else:
        width = answered(getattr(answer, "width", answer), rows)
        lower, upper = rows - width, rows + width
    if not (lower <= upper).all():
        raise UnusableAnswerError("the explainer returned a width that is NaN or below 0")
    if not (torch.isfinite(lower) & torch.isfinite(upper)).all():
        raise UnusableAnswerError("the explainer returned a box without finite bounds")
    return Box(lower, upper, float(getattr(answer, "violating_mass", 0)))
