"""FIMAP: one network that gives the smallest perturbation flipping a black box's class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Generator, Tensor
from torch.linalg import vector_norm
from torch.nn.functional import cross_entropy

from xai_adapters.core.black_box import BlackBox, as_black_box
from xai_adapters.core.fitted_networks import FittedNetworks, units
from xai_adapters.core.networks import Perturber, Surrogate
from xai_adapters.core.persistence import read_explainer, write_explainer
from xai_adapters.core.progress import progress
from xai_adapters.core.rows import as_rows
from xai_adapters.core.step_search import ONE_QUESTION, shortest_step
from xai_adapters.errors import ConstantPredictorError, InvalidInputError, NotFittedError


@dataclass(frozen=True)
class Perturbation:
    """What `MinimalPerturbation.perturb` found, in the user's units; n rows of d columns.

    Attributes:
        original: (n, d), the rows as they were given.
        perturbation: (n, d), the change of each row.
        perturbed: (n, d), the rows with the change added.
        origin: (n,) the class each row was to leave.
        target: (n,) the class each row was to reach.
        success: (n,) what the black box said of the perturbed rows: the class was left and, where
            one was asked for, the target was reached. None if the black box was not asked.
        queries: rows the black box was asked about.
    """

    original: Tensor
    perturbation: Tensor
    perturbed: Tensor
    origin: Tensor
    target: Tensor
    success: Tensor | None
    queries: int
    _surrogate_class: Callable[[Tensor], Tensor] = field(repr=False)

    @cached_property
    def class_before(self) -> Tensor:
        """(n,) the surrogate's class of each row as it was; computed when first read."""
        return self._surrogate_class(self.original)

    @cached_property
    def class_after(self) -> Tensor:
        """(n,) the surrogate's class of each perturbed row; computed when first read."""
        return self._surrogate_class(self.perturbed)


class MinimalPerturbation:
    """FIMAP: fit once to any black box, then explain thousands of rows in one forward pass.

    A surrogate network learns the black box's class (equation 2), then, with its weights frozen, a
    perturber learns for each row the smallest change that makes the surrogate give another class:
    cross-entropy to the class to reach plus `penalty` times the change's length (equation 3).
    Rows are standardised inside, so lengths weigh columns by their spread; results come back in
    the user's units. The black box is asked in `fit`, and in `perturb` only if it is handed over;
    it is never kept.

    Chapman-Rounds et al., "FIMAP: Feature Importance by Minimal Adversarial Perturbation",
    AAAI 2021.

    Args:
        surrogate_widths: units of the surrogate's hidden layers; a linear layer follows them.
        perturber_widths: units of the perturber's hidden layers; a linear layer follows them.
        dropout: probability of dropping a hidden unit while fitting.
        learning_rate: Adam's step size, for both networks.
        penalty: lambda of equation 3, on the length of the standardised perturbation.
        epochs: passes over the rows, for each network.
        batch_size: rows in a step; by default 32 to 256, so that an epoch has about 32 steps and
            few rows do not mean few steps.
        scale: "column" standardises each column by its own spread; "shared" divides all by one
            spread, for columns that share a unit, such as pixels.
        seed: of the weights, the order of rows, and dropout.
        show_progress: show a bar on standard error while fitting.

    Attributes:
        recovery_accuracy: share of the fitted rows on which the surrogate gives the black box's
            class; None before `fit`.
        n_classes: K; None before `fit`.

    Example:
        >>> X = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
        >>> explainer = MinimalPerturbation(epochs=5, batch_size=32)
        >>> explainer = explainer.fit(X, lambda X: X[:, 0] > 0)
        >>> found = explainer.perturb(torch.tensor([[1.0, 0.0]]))
        >>> found.class_before.item(), found.class_after.item()
        (1, 0)
        >>> found.perturbation[0, 0].item() < -1
        True
    """

    def __init__(
        self,
        *,
        surrogate_widths: Sequence[int] = (200, 200),
        perturber_widths: Sequence[int] = (100, 100, 100, 100),
        dropout: float = 0.2,
        learning_rate: float = 1e-3,
        penalty: float = 0.1,
        epochs: int = 15,
        batch_size: int | None = None,
        scale: Literal["column", "shared"] = "column",
        seed: int = 0,
        show_progress: bool = False,
    ) -> None:
        for name, value, allowed in (
            ("dropout", dropout, 0 <= dropout < 1),
            ("learning_rate", learning_rate, learning_rate > 0),
            ("penalty", penalty, penalty >= 0),
            ("epochs", epochs, epochs >= 1),
            ("batch_size", batch_size, batch_size is None or batch_size >= 1),
            ("scale", scale, scale in ("column", "shared")),
        ):
            if not allowed:
                raise InvalidInputError(f"{name} cannot be {value!r}")
        self.surrogate_widths = tuple(surrogate_widths)
        self.perturber_widths = tuple(perturber_widths)
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.penalty = penalty
        self.epochs = epochs
        self.batch_size = batch_size
        self.scale = scale
        self.seed = seed
        self.show_progress = show_progress
        self.recovery_accuracy: float | None = None
        self.n_classes: int | None = None
        self._fitted: FittedNetworks | None = None

    def fit(self, X: Any, black_box: BlackBox | Any) -> MinimalPerturbation:
        """Fit surrogate and perturber to what the black box says of `X`.

        Args:
            X: (n, d) rows like those to be explained; both classes of every decision must occur.
            black_box: a `BlackBox`, or anything it wraps. It is asked once about each row.

        Returns:
            The explainer itself.

        Raises:
            InvalidInputError: for rows that cannot be used.
            ConstantPredictorError: if the black box gives all rows one class.
            PredictorError: if the black box does not answer properly.
        """
        rows = as_rows(X)
        box = as_black_box(black_box)
        answers = box.probabilities(rows)
        labels = answers.argmax(dim=1)
        if (labels == labels[0]).all():
            raise ConstantPredictorError(
                f"the black box gives class {int(labels[0])} for all {len(rows)} rows, so they "
                "show no way to another class; fit on rows of at least two classes"
            )
        n_columns, n_classes = rows.shape[1], answers.shape[1]
        mean, spread = units(rows, shared=self.scale == "shared")
        generator = Generator(rows.device).manual_seed(self.seed)
        drawn = (self.dropout, generator, rows.device)
        fitted = FittedNetworks(
            Surrogate(n_columns, n_classes, self.surrogate_widths, *drawn),
            Perturber(n_columns, n_classes, self.perturber_widths, *drawn),
            mean,
            spread,
            None if box.classes is None else list(box.classes),
            box.reading,
        )
        with torch.enable_grad():
            standardised = fitted.standardised(rows)
            self._fit_surrogate(fitted.surrogate, standardised, labels, generator)
            self._fit_perturber(fitted, standardised, labels, generator)
        # Published only now: a fit that is broken off leaves the earlier one usable.
        self._fitted = fitted
        self.n_classes = n_classes
        self.recovery_accuracy = (self.predict(rows) == labels).double().mean().item()
        return self

    def predict(self, X: Any) -> Tensor:
        """Class (n,) that the surrogate gives rows (n, d).

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows that cannot be used.
        """
        fitted, rows = self._ready(X)
        return fitted.surrogate_class(rows)

    def perturb(
        self,
        X: Any,
        target: Any = None,
        *,
        origin: Tensor | None = None,
        black_box: BlackBox | Any | None = None,
        check: bool = False,
    ) -> Perturbation:
        """Find the smallest perturbation of each row that changes its class.

        Args:
            X: (n, d) rows.
            target: the class to reach: one for all rows, or (n,) of them; None or "other" for the
                class that is nearest by the length of its perturbation. A row whose target is its
                class already is not perturbed.
            origin: (n,) the class each row has now, if it is known; by default the black box's
                where one is given, else the surrogate's.
            black_box: if given, it is asked about the perturbed rows (and about the rows
                themselves unless `origin` is given), and the result says what succeeded.
            check: ask the black box along each row's perturbation for the shortest step that
                changes its class as wanted, and go just that far: shorter where the perturbation
                passed the boundary, longer where it fell short of it. At most 11 questions a row;
                see `shortest_step`.

        Returns:
            The perturbations, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows or targets that cannot be used.
        """
        if check and black_box is None:
            raise InvalidInputError("check asks the black box: hand it over as black_box=")
        fitted, rows = self._ready(X)
        box = None if black_box is None else _understood_as_in_fit(fitted, black_box)
        asked_before = box.n_queries if box else 0
        with torch.no_grad():
            if origin is None:
                origin = box.labels(rows) if box else fitted.surrogate_class(rows)
            elif len(origin) != len(rows):
                raise InvalidInputError(f"origin has {len(origin)} classes for {len(rows)} rows")
            _check_known(origin, fitted.perturber.n_classes)
            standardised = fitted.standardised(rows)
            any_other = target is None or (isinstance(target, str) and target == "other")
            if any_other:
                reached = fitted.nearest_other(standardised, origin)
            else:
                reached = self._targets(target, len(rows)).to(rows.device)
            change = fitted.change(standardised, reached).to(rows.dtype)
            change = change.masked_fill((reached == origin)[:, None], 0)
        success = None
        if box is not None:

            def changes(some: Tensor, steps: Tensor) -> Tensor:
                """Whether the black box changes its mind these steps along the perturbations."""
                found = box.labels(rows[some] + steps.to(change)[:, None] * change[some])
                return found != origin[some] if any_other else found == reached[some]

            steps, success = shortest_step(
                changes, len(rows), rows.device, **({} if check else ONE_QUESTION)
            )
            change = steps.to(change)[:, None] * change
        perturbed = rows + change
        return Perturbation(
            original=rows,
            perturbation=change,
            perturbed=perturbed,
            origin=origin,
            target=reached,
            success=success,
            queries=box.n_queries - asked_before if box else 0,
            _surrogate_class=self.predict,
        )

    def save(self, path: str | Path) -> None:
        """Write the fitted explainer to one file, which neither the data nor the black box enter.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: if the black box's class labels are neither text nor numbers.
            OSError: if the file cannot be written.
        """
        if self._fitted is None:
            raise NotFittedError("there is nothing to save yet; call fit first")
        settings = {name: getattr(self, name) for name in _SETTINGS}
        facts = {
            "settings": settings,
            "recovery_accuracy": self.recovery_accuracy,
            **self._fitted.facts(),
        }
        write_explainer(path, type(self).__name__, self._fitted.tensors(), facts)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> MinimalPerturbation:
        """Read an explainer that `save` wrote; it explains as it did when it was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, or of a newer version.
        """
        tensors, facts = read_explainer(path, cls.__name__, device)
        explainer = cls(**facts["settings"])
        explainer._fitted = FittedNetworks.from_saved(
            tensors, facts, explainer.surrogate_widths, explainer.perturber_widths
        )
        explainer.n_classes = explainer._fitted.perturber.n_classes
        explainer.recovery_accuracy = facts["recovery_accuracy"]
        return explainer

    def _ready(self, X: Any) -> tuple[FittedNetworks, Tensor]:
        if self._fitted is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        return self._fitted, as_rows(X, n_columns=len(self._fitted.mean))

    def _targets(self, target: Any, n_rows: int) -> Tensor:
        assert self.n_classes is not None
        try:
            classes = torch.as_tensor(target)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInputError(
                f"target must be 'other', a class number, or one for each row; it is {target!r:.60}"
            ) from error
        if classes.is_floating_point() or classes.numel() not in (1, n_rows):
            raise InvalidInputError(
                f"target must be 'other', a class number, or one for each of the {n_rows} rows; "
                f"it is {classes.dtype} of shape {tuple(classes.shape)}"
            )
        outside = (classes < 0) | (classes >= self.n_classes)
        if outside.any():
            raise InvalidInputError(
                f"target {int(classes[outside].flatten()[0])} is not one of the classes 0 to "
                f"{self.n_classes - 1}"
            )
        return classes.to(torch.int64).flatten().expand(n_rows)

    def _fit_surrogate(
        self, surrogate: Surrogate, rows: Tensor, labels: Tensor, generator: Generator
    ) -> None:
        """Equation 2: cross-entropy between surrogate and black box."""
        optimizer = torch.optim.Adam(surrogate.parameters(), self.learning_rate, fused=True)
        for batch in self._batches(rows, generator, "fitting the surrogate"):
            loss = cross_entropy(surrogate(rows[batch]), labels[batch])
            _descend(optimizer, loss)
        surrogate.freeze()

    def _fit_perturber(
        self, fitted: FittedNetworks, rows: Tensor, labels: Tensor, generator: Generator
    ) -> None:
        """Equation 3: cross-entropy to another class, drawn anew each time, plus the length."""
        n_others = fitted.perturber.n_classes - 1
        optimizer = torch.optim.Adam(fitted.perturber.parameters(), self.learning_rate, fused=True)
        for batch in self._batches(rows, generator, "fitting the perturber"):
            shift = torch.randint(
                1, n_others + 1, batch.shape, generator=generator, device=rows.device
            )
            target = (labels[batch] + shift) % (n_others + 1)
            change = fitted.perturber(rows[batch], target)
            flip = cross_entropy(fitted.surrogate(rows[batch] + change), target)
            _descend(optimizer, flip + self.penalty * vector_norm(change, dim=1).mean())
        fitted.perturber.freeze()

    def _batches(self, rows: Tensor, generator: Generator, description: str) -> Iterator[Tensor]:
        """Row numbers of each step, every row once an epoch in an order of its own."""
        for _ in progress(range(self.epochs), description, self.show_progress):
            order = torch.randperm(len(rows), generator=generator, device=rows.device)
            yield from order.split(self.batch_size or min(max(len(rows) // 32, 32), 256))


_SETTINGS = tuple(inspect.signature(MinimalPerturbation).parameters)


def _understood_as_in_fit(fitted: FittedNetworks, black_box: BlackBox | Any) -> BlackBox:
    """A black box that numbers its classes and reads its outputs as the fitted one did."""
    box = as_black_box(black_box, output=fitted.reading)
    if fitted.classes is not None:
        if box.classes is None:
            box.classes = list(fitted.classes)
        elif box.classes[: len(fitted.classes)] != fitted.classes:
            raise InvalidInputError(
                f"the black box numbers its classes {box.classes!r:.60}, in fit they were "
                f"{fitted.classes!r:.60}; hand over the BlackBox of fit, or give it `classes`"
            )
    return box


def _check_known(origin: Tensor, n_classes: int) -> None:
    unknown = (origin < 0) | (origin >= n_classes)
    if unknown.any():
        row = int(unknown.nonzero()[0])
        raise InvalidInputError(
            f"row {row} has class {int(origin[row])}; fit saw the classes 0 to {n_classes - 1} "
            "only: fit on rows of every class"
        )


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
