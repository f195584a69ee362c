"""Any predictor behind one call: torch modules, scikit-learn estimators, functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from xai_adapters.errors import InvalidInputError, PredictorError
from xai_adapters.model.outputs import (
    OutputType,
    are_probabilities,
    check_output_type,
    class_probabilities,
)
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import (
    check_choice,
    check_number,
    check_whole_number,
    named_options,
    shown,
)

ArrayKind = Literal["numpy", "torch"]


class BlackBoxOptions(TypedDict, total=False):
    """The keyword arguments of `BlackBox`, for calls that pass them on."""

    output_type: OutputType
    threshold: float | None
    classes: Sequence[Any] | None
    batch_size: int
    arrays: ArrayKind
    decision: Callable[[Any], Any] | None


class BlackBox:
    """A predictor that gives classes and probabilities, and counts the rows it was queried for.

    Classes are numbered 0 to K - 1 in the order of `classes`: an estimator's `classes_`, False and
    True, or for a predictor of other labels the sorted labels of the first query, followed by
    labels that occur later. The predictor is only held, never copied or changed: a module is
    queried in eval mode, without gradients, and is left in the mode it was found in.

    Args:
        predictor: a `torch.nn.Module` (rows go in as tensors), an estimator with `predict_proba`
            or `predict`, or a function. Functions are given numpy arrays, or tensors if
            `arrays="torch"`. Answers may be (n, K) probabilities or logits, (n,) or (n, 1) numbers
            (a decision between two classes), or (n,) labels: integers, booleans or strings.
        output_type: what numbers mean: "probabilities", "logits", or "auto" to look at their range.
        threshold: for one number a row, the value above which it means class 1; by default 0.5 for
            probabilities and 0 for others. Set it to explain a regression's decision.
        classes: the labels that the predictor can return, in the order in which they are numbered.
        batch_size: rows handed to the predictor in one call.
        arrays: what a function is given; modules always get tensors, estimators always arrays.
        decision: applied to every answer of the predictor, to explain a decision that its output
            only implies, such as a range of a regression's values, given as labels or their
            probabilities.

    Attributes:
        n_queries: rows queried so far.
        gives_probabilities: whether the last answer held probabilities, not only labels.
        resolved_output_type: how numbers are read: `output_type`, or for "auto" what fits all rows
            queried so far. Once some were logits, all are.

    Raises:
        UnknownOptionError: for an option that does not exist; the nearest one is suggested.
        InvalidInputError: if `predictor` cannot be called, or for an option of the wrong type or
            out of range.

    Example:
        >>> box = BlackBox(lambda X: X[:, 0] > 0)
        >>> box.labels(torch.tensor([[1.0], [-1.0], [2.0]])).tolist()
        [1, 0, 1]
        >>> box.n_queries
        3
    """

    @named_options()
    def __init__(
        self,
        predictor: Any,
        *,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        classes: Sequence[Any] | None = None,
        batch_size: int = 8192,
        arrays: ArrayKind = "numpy",
        decision: Callable[[Any], Any] | None = None,
    ) -> None:
        check_output_type(output_type)
        check_number("threshold", threshold, optional=True)
        check_whole_number("batch_size", batch_size, at_least=1)
        check_choice("arrays", arrays, ("numpy", "torch"))
        if decision is not None and not callable(decision):
            raise InvalidInputError(f"decision must be a function or None, is {decision!r:.60}")
        self.predictor = predictor
        self.output_type = output_type
        self.resolved_output_type: OutputType = output_type
        self.threshold = threshold
        self.batch_size = batch_size
        self.arrays = arrays
        self.decision = decision
        self.n_queries = 0
        self.gives_probabilities = True
        self._as_tensor = arrays == "torch" or isinstance(predictor, nn.Module)
        # Looked up once: of an estimator that is wrapped, finding its method may cost as much as
        # asking about a row.
        self._ask, own_classes = _asking(predictor)
        # A decision has classes of its own.
        found = own_classes if classes is None and decision is None else classes
        # Plain numbers and text, where numpy would give its own.
        self.classes: list[Any] | None = None
        if found is not None:
            self.classes = [x.item() if isinstance(x, np.generic) else x for x in found]

    def __repr__(self) -> str:
        """The predictor's name, and the options that were set."""
        name = getattr(self.predictor, "__name__", type(self.predictor).__name__)
        options = {option: getattr(self, option) for option in BlackBoxOptions.__annotations__}
        text = shown(self, options)
        return text.replace("(", f"({name}" + ("" if text.endswith("()") else ", "), 1)

    def labels(self, rows: Tensor) -> Tensor:
        """Class of each row.

        Args:
            rows: (n, ...) tensor.

        Returns:
            (n,) int64 positions in `classes`, on the rows' device.

        Raises:
            PredictorError: if the predictor returns NaN or not one answer a row.
        """
        return self.probabilities(rows).argmax(dim=1)

    def probabilities(self, rows: Tensor) -> Tensor:
        """Probability of each class; for a predictor of labels 0 and 1.

        Args:
            rows: (n, ...) tensor.

        Returns:
            (n, K) floats on the rows' device.

        Raises:
            PredictorError: if the predictor returns NaN or not one answer a row.
        """
        self.n_queries += len(rows)
        # Few rows are queried so often that a needless split would be felt.
        batches = [rows] if len(rows) <= self.batch_size else rows.split(self.batch_size)
        with torch.no_grad(), left_as_found(self.predictor, rows.device):
            answers = [self._answer(self._ask, batch) for batch in batches]
        if isinstance(answers[0], np.ndarray):
            return self._one_hot(np.concatenate(answers)).to(rows.device)
        outputs = (torch.cat(answers) if len(answers) > 1 else answers[0]).to(rows.device)
        if self.output_type == "auto" and self.resolved_output_type != "logits":
            # One reading for all rows ever queried: a single row of logits may add up to 1.
            named = self.decision is None and getattr(self._ask, "__name__", "") == "predict_proba"
            can_be = named or bool(are_probabilities(outputs).all())
            self.resolved_output_type = "probabilities" if can_be else "logits"
        self.gives_probabilities = True
        if self.resolved_output_type == "probabilities" and outputs.shape[1] > 1:
            return outputs
        is_probability = torch.full(
            (len(outputs),), self.resolved_output_type == "probabilities", device=outputs.device
        )
        return class_probabilities(outputs, is_probability, self.threshold)

    def _answer(self, ask: Callable[[Any], Any], batch: Tensor) -> Any:
        """A batch's answer: an (n,) array of labels, or an (n, K) tensor of numbers."""
        answer = ask(batch if self._as_tensor else _as_array(batch))
        if self.decision is not None:
            answer = self.decision(answer)
        if not isinstance(answer, Tensor):
            answer = np.asarray(answer)
            if answer.dtype.kind in "OUSbiu" and answer.ndim <= 1:
                _check_length(answer.shape, len(batch))
                return answer
            if answer.dtype.kind not in "fbiu":
                raise PredictorError(f"the predictor returned values of type {answer.dtype}")
            answer = torch.from_numpy(answer.copy())
        _check_length(tuple(answer.shape), len(batch))
        if answer.ndim == 1 and not answer.is_floating_point():
            return answer.cpu().numpy()
        if answer.ndim > 2:
            raise PredictorError(
                f"the predictor returned shape {tuple(answer.shape)}; one row of class outputs or "
                "one number for each row was expected"
            )
        outputs = answer.reshape(len(batch), -1)
        if not outputs.is_floating_point():
            outputs = outputs.to(torch.float32)
        # NaN is the largest of numbers, and not below anything.
        if outputs.numel() and not outputs.max().item() < math.inf:
            undefined = (outputs.isnan() | outputs.isposinf()).any(dim=1)
            raise PredictorError(
                f"the predictor returned NaN or inf for {int(undefined.sum())} of {len(batch)} "
                f"rows, first for row {int(undefined.nonzero()[0])} of the batch"
            )
        return outputs

    def _one_hot(self, labels: np.ndarray[Any, Any]) -> Tensor:
        self.gives_probabilities = False
        if self.classes is None:
            boolean = labels.dtype == bool
            self.classes = [False, True] if boolean else np.unique(labels).tolist()
        position = {label: index for index, label in enumerate(self.classes)}
        for label in labels.tolist():
            if label not in position:
                position[label] = len(position)
                self.classes.append(label)
        indices = torch.tensor([position[label] for label in labels.tolist()])
        return nn.functional.one_hot(indices, max(len(self.classes), 2)).to(torch.float32)


def as_black_box(predictor: Any, **options: Unpack[BlackBoxOptions]) -> BlackBox:
    """Wrap a predictor with these options of `BlackBox`, unless it is one already."""
    return predictor if isinstance(predictor, BlackBox) else BlackBox(predictor, **options)


def _asking(predictor: Any) -> tuple[Callable[[Any], Any], Sequence[Any] | None]:
    """The call that asks `predictor`, and the labels it can return if it knows them."""
    if not isinstance(predictor, nn.Module):
        for method in ("predict_proba", "predict"):
            if hasattr(predictor, method):
                return getattr(predictor, method), getattr(predictor, "classes_", None)
    if not callable(predictor):
        raise InvalidInputError(
            "the predictor must be a torch module, an estimator with predict_proba or predict, or "
            f"a function; it is {type(predictor).__name__} {predictor!r:.60}"
        )
    return predictor, None


def _as_array(rows: Tensor) -> np.ndarray[Any, Any]:
    # numpy has no bfloat16.
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).detach().cpu().numpy()


def _check_length(shape: tuple[int, ...], n_rows: int) -> None:
    if len(shape) == 0 or shape[0] != n_rows:
        raise PredictorError(
            f"the predictor was given {n_rows} rows and returned shape {shape}; one answer for "
            "each row was expected"
        )
