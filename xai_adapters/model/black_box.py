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
from xai_adapters.model.answers import as_array, check_labels, class_outputs, sorted_labels
from xai_adapters.model.estimators import is_regressor
from xai_adapters.model.inputs import ask_with_copies
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
    queried in eval mode, without gradients, and is left in the mode it was found in. It is given
    copies of rows, so that it may work in place, and what it returns is copied.

    Args:
        predictor: a `torch.nn.Module` (rows go in as tensors), an estimator with `predict_proba`
            or `predict`, or a function. Functions are given numpy arrays, or tensors if
            `arrays="torch"`. Answers may be (n, K) probabilities or logits, (n,) or (n, 1) numbers
            (a decision between two classes), or (n,) or (n, 1) labels: integers (unless there is a
            threshold), booleans, strings, and whatever an estimator with `classes_` predicts. In a
            dictionary, tuple or object they are looked for under `logits`.
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
        has_single_output: whether the last answer was one number a row.
        resolved_output_type: how numbers are read: `output_type`, or for "auto" what fits all rows
            queried so far. Once some were logits, all are.

    Raises:
        UnknownOptionError: for an option that does not exist; the nearest one is suggested.
        InvalidInputError: if `predictor` cannot be called, is a regressor without a threshold, or
            for an option of the wrong type or out of range.

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
        self.has_single_output = False
        self._as_tensor = arrays == "torch" or isinstance(predictor, nn.Module)
        # Looked up once: of an estimator that is wrapped, finding its method may cost as much as
        # asking about a row.
        self._ask, self._method, own_classes = _asking(predictor)
        if decision is not None:
            # It has classes of its own.
            self._method, own_classes = "", None
        elif threshold is None and is_regressor(owner := getattr(self._ask, "__self__", None)):
            raise InvalidInputError(
                f"{type(owner).__name__} predicts numbers, not classes: say with "
                "threshold= above which value it decides for class 1, or with decision= how its "
                "values become classes"
            )
        found = own_classes if classes is None else classes
        # Of a predictor that knows its classes, numbers are labels too.
        self._predicts_labels = self._method == "predict" and own_classes is not None
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
            can_be = self._method == "predict_proba" or bool(are_probabilities(outputs).all())
            self.resolved_output_type = "probabilities" if can_be else "logits"
        self.gives_probabilities = True
        if outputs.shape[1] == 1 and self._method == "predict_proba" and self._has_one_class:
            self.has_single_output = False
            return torch.cat((outputs, 1 - outputs), dim=1)
        if self.resolved_output_type == "probabilities" and outputs.shape[1] > 1:
            return outputs
        is_probability = torch.full(
            (len(outputs),), self.resolved_output_type == "probabilities", device=outputs.device
        )
        return class_probabilities(outputs, is_probability, self.threshold)

    def _answer(self, ask: Callable[[Any], Any], batch: Tensor) -> Any:
        """A batch's answer: an (n,) array of labels, or an (n, K) tensor of numbers."""
        # A copy: the predictor may work in place, or keep what it is given.
        answer = (
            ask_with_copies(self.predictor, ask, batch)
            if self._as_tensor
            else ask(_as_array(batch.clone()))
        )
        if self.decision is not None:
            answer = self.decision(answer)
        # Copies too: the predictor may fill one array again and again.
        answer = class_outputs(answer)
        answer = answer.clone() if isinstance(answer, Tensor) else as_array(answer).copy()
        _check_length(tuple(answer.shape), len(batch))
        is_one_each = answer.ndim == 1 or answer.shape[1:] == (1,)
        if is_one_each and self._holds_labels(answer):
            labels = answer.cpu().numpy() if isinstance(answer, Tensor) else answer
            return labels.reshape(-1)
        if not isinstance(answer, Tensor):
            if answer.dtype.kind not in "fbiu":
                raise PredictorError(f"the predictor returned values of type {answer.dtype}")
            answer = torch.from_numpy(answer)
        if answer.ndim > 2:
            raise PredictorError(
                f"the predictor returned shape {tuple(answer.shape)}; one row of class outputs or "
                "one number for each row was expected"
            )
        outputs = answer.reshape(len(batch), -1)
        self.has_single_output = is_one_each
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

    @property
    def _has_one_class(self) -> bool:
        return self.classes is not None and len(self.classes) == 1

    def _holds_labels(self, answer: Tensor | np.ndarray[Any, Any]) -> bool:
        """Whether one value a row is a label, not a number to be compared with a threshold."""
        if self._predicts_labels:
            return True
        if isinstance(answer, Tensor):
            is_number, is_whole = answer.dtype != torch.bool, not answer.is_floating_point()
        else:
            is_number, is_whole = answer.dtype.kind in "fiu", answer.dtype.kind in "iu"
        if not is_number:
            return True
        return is_whole and (self.threshold is None or self.classes is not None)

    def _one_hot(self, labels: np.ndarray[Any, Any]) -> Tensor:
        self.gives_probabilities, self.has_single_output = False, False
        check_labels(labels)
        if self.classes is None:
            self.classes = sorted_labels(labels)
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


def _asking(predictor: Any) -> tuple[Callable[[Any], Any], str, Sequence[Any] | None]:
    """The call that asks `predictor`, its name, and the labels it can return if it knows them."""
    if not isinstance(predictor, nn.Module):
        for method in ("predict_proba", "predict"):
            if hasattr(predictor, method):
                return getattr(predictor, method), method, getattr(predictor, "classes_", None)
    if not callable(predictor):
        raise InvalidInputError(
            "the predictor must be a torch module, an estimator with predict_proba or predict, or "
            f"a function; it is {type(predictor).__name__} {predictor!r:.60}"
        )
    # A bound method knows its estimator.
    owner, method = getattr(predictor, "__self__", None), getattr(predictor, "__name__", "")
    if method not in ("predict_proba", "predict"):
        return predictor, "", None
    return predictor, method, getattr(owner, "classes_", None)


def _as_array(rows: Tensor) -> np.ndarray[Any, Any]:
    # numpy has no bfloat16.
    return (rows.float() if rows.dtype == torch.bfloat16 else rows).detach().cpu().numpy()


def _check_length(shape: tuple[int, ...], n_rows: int) -> None:
    if len(shape) == 0 or shape[0] != n_rows:
        raise PredictorError(
            f"the predictor was given {n_rows} rows and returned shape {shape}; one answer for "
            "each row was expected"
        )
