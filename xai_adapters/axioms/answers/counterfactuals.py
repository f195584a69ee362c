"""How counterfactual explainers are called, whatever library they are from, and what they answer.

An explainer under test may be

- ours and the registry's: `perturb(rows, original_class=...)` or
  `counterfactuals(rows, original_class)`, where `original_class` (n,) are the classes to be left;
- Captum's: `perturb(inputs, target=...)`;
- Alibi's: `explain(X)`, with `target_class=...` where it can be chosen;
- a callable of `(rows, original_class)`, or of `(rows, target=...)`.

It answers with changed rows (n, d), unchanged where it found none; with an object that has
`perturbed` and `success`; or with Alibi's `Explanation`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_adapters.axioms.answers.attributions import UnusableAnswerError, answered
from xai_adapters.errors import NotApplicableError

# What says more comes first: `perturb` also says what succeeded.
_METHODS = ("perturb", "counterfactuals", "explain")
_TARGETS = ("target", "target_class")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Changed:
    """What a counterfactual explainer answered for n rows.

    Attributes:
        rows: (n, d) float64, the changed rows.
        given: (n,) which of them are given as counterfactuals: those it calls a success or, if it
            says nothing of the kind, those it changed.
        success: (n,) what it says; None if it says nothing.
    """

    rows: Tensor
    given: Tensor
    success: Tensor | None


Change = Callable[..., Changed]


def changing(made: Any) -> Change:
    """A counterfactual explainer, however it is called, as one function.

    Returns:
        A function of (rows, original_class, target=None).

    Raises:
        UnusableAnswerError: for something that cannot be called for counterfactuals.

    Example:
        >>> change = changing(lambda rows, original_class: rows + 1)
        >>> change(torch.zeros(1, 2), torch.zeros(1)).rows.tolist()
        [[1.0, 1.0]]
    """
    method = next((name for name in _METHODS if hasattr(made, name)), None)
    call = made if method is None else getattr(made, method)
    if not callable(call):
        raise UnusableAnswerError(
            f"make returned a {type(made).__name__}; an object with perturb, counterfactuals or "
            "explain, or a callable of (rows, original_class) was expected"
        )
    parameters = inspect.signature(call).parameters
    second = [
        each.name
        for each in parameters.values()
        if each.default is each.empty and each.kind in _POSITIONAL
    ][1:2]
    takes_target = next((name for name in _TARGETS if name in parameters), None)

    def change(rows: Tensor, original_class: Tensor, target: Tensor | None = None) -> Changed:
        given: list[Any] = [rows.clone().numpy() if method == "explain" else rows.clone()]
        named: dict[str, Any] = {}
        if target is not None:
            if takes_target is None:
                raise NotApplicableError("it takes no target class")
            named[takes_target] = target.clone()
        if "original_class" in parameters:
            named["original_class"] = original_class.clone()
        elif second and second[0] in _TARGETS:
            if target is None:
                raise NotApplicableError("it needs a target class")
        elif second:
            given.append(original_class.clone())
        return _read(call(*given, **named), rows)

    return change


def _read(answer: Any, rows: Tensor) -> Changed:
    changed_rows, claimed = answer, None
    if hasattr(answer, "perturbed"):
        changed_rows, claimed = answer.perturbed, answer.success
    elif hasattr(answer, "data") and isinstance(answer.data, dict):
        # Alibi gives no counterfactual at all for a row for which it found none.
        counterfactual, claimed = answer.data.get("cf"), answer.data.get("success")
        changed_rows = rows if counterfactual is None else counterfactual["X"]
    changed = answered(changed_rows, rows)
    if not changed.isfinite().all():
        raise UnusableAnswerError("the explainer returned a row with NaN or inf")
    success = None if claimed is None else torch.as_tensor(claimed).bool().expand(len(rows))
    given = (changed != rows).any(dim=1) if success is None else success
    return Changed(changed, given, success)
