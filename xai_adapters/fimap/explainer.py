"""FIMAP: one network that gives the smallest perturbation flipping a black box's class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from typing_extensions import Unpack

from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
)
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap.fitted import FittedNetworks, units
from xai_adapters.fimap.line_search import QUARTERS, THIRDS
from xai_adapters.fimap.networks import Perturber, Surrogate
from xai_adapters.fimap.search import CounterfactualSearch
from xai_adapters.fimap.settings import REMOVED_SETTINGS, FittingOptions, FittingSettings
from xai_adapters.fimap.training import History, Pool, TwoStageFit
from xai_adapters.model.black_box import BlackBox, as_black_box
from xai_adapters.utils.options import call_as_text, named_options
from xai_adapters.utils.persistence import read_explainer, without_removed, write_explainer
from xai_adapters.utils.rows import as_rows

# Rows whose perturbations are the measure of a length's rank and of the mean change.
_N_REFERENCE = 2000
# Points near a row that tell how near another class of the surrogate is; more tell little more.
_N_NEARBY = 30
# Rows around which points are made at once.
_SOME_ROWS = 512
# Questions that `fit` asks if it is not told how many: as many rows have to be kept.
_MOST_QUESTIONS = 10_000
_LOW_RECOVERY, _LOW_VALIDITY = 0.9, 0.95


@dataclass(frozen=True)
class Perturbation:
    """What `MinimalPerturbation.perturb` found, in the user's units; n rows of d columns.

    Attributes:
        original: (n, d), the rows as they were given.
        perturbed: (n, d), the changed rows; every constraint of the schema holds for them.
        original_class: (n,) the class each row was to leave.
        target: (n,) the class each row was to reach.
        success: (n,) what the black box said of the perturbed rows: the class was left and, where
            one was asked for, the target was reached. None if the black box was not asked.
        queries: rows the black box was asked about.
    """

    original: Tensor
    perturbed: Tensor
    original_class: Tensor
    target: Tensor
    success: Tensor | None
    queries: int
    _length: Callable[[], Tensor] = field(repr=False)
    _surrogate_class: Callable[[Tensor], Tensor] = field(repr=False)

    @cached_property
    def perturbation(self) -> Tensor:
        """(n, d), the change of each row."""
        return self.perturbed - self.original

    @cached_property
    def length(self) -> Tensor:
        """(n,) how far each row was moved in the schema's metric; computed when first read.

        The norm of its continuous changes in standard units times their costs, plus the cost of
        each changed category.
        """
        return self._length().to(self.original.dtype)

    @cached_property
    def class_before(self) -> Tensor:
        """(n,) the surrogate's class of each row as it was; computed when first read."""
        return self._surrogate_class(self.original)

    @cached_property
    def class_after(self) -> Tensor:
        """(n,) the surrogate's class of each perturbed row; computed when first read."""
        return self._surrogate_class(self.perturbed)


@dataclass(frozen=True)
class Certainty:
    """How far rows are from another decision.

    Attributes:
        length: (n,) length of each row's shortest perturbation in the schema's metric.
        rank: (n,) share of the fitted rows whose shortest perturbation is shorter, in [0, 1]; near
            0 the decision hangs by a thread.
    """

    length: Tensor
    rank: Tensor


class MinimalPerturbation:
    """FIMAP: fit once to any black box, then explain thousands of rows in one forward pass.

    A surrogate network learns the black box's class (equation 2), then, with its weights frozen, a
    perturber learns for each row the smallest change that makes the surrogate give another class:
    cross-entropy to the class to reach plus what the change costs (equations 3 and 5); categories
    are drawn by a Gumbel-softmax while fitting (equation 4). Then the black box is asked about
    perturbed rows, and both networks are fitted further to its answers: a perturbation that fools
    the surrogate alone is worth little. Numbers are standardised inside; results come back in the
    user's units and keep every constraint of the schema. The black box is asked in `fit`, and in
    `perturb` only if it is handed over; it is never kept.

    Chapman-Rounds et al., "FIMAP: Feature Importance by Minimal Adversarial Perturbation",
    AAAI 2021. The paper's own setting is `query_budget=0, soft_labels=False`. Where two fits are to
    agree about many columns that go together, as pixels do, one wide layer in the perturber serves
    better than the paper's four (`perturber_widths=(400,)`).

    Args:
        schema: what the columns are and how each may change; by default all are continuous and
            free.
        surrogate_widths: units of the surrogate's hidden layers; a linear layer follows them.
        perturber_widths: units of the perturber's hidden layers; the partial Gumbel layer follows.
        dropout: probability of dropping a hidden unit while fitting.
        learning_rate: Adam's first step size, for both networks; it falls linearly to 0.
        epochs: passes over the rows, for each network.
        batch_size: rows in a step; by default 32 to 160, so that an epoch has about 50 steps and
            few rows do not mean few steps.
        penalty: lambda of equation 3, on the length of the standardised continuous change.
        norm: of that length, "l2", or "l1" for changes of few columns.
        category_penalty: eta of equation 5, on each category that changes.
        max_categories: number of changed categories from which each further one costs eleven
            times as much, so that results can be read; None for no such number.
        noise: standard deviation of Gaussian noise on standardised continuous columns while
            fitting. It smooths the surrogate, and what flips a smooth surrogate flips the black
            box more often: 1 to 2 for pixels, 0 to 0.1 for tables.
        soft_labels: let the surrogate learn the black box's probabilities where it gives them, not
            the classes alone.
        query_budget: rows `fit` may ask the black box about beyond those it is given; by default
            as many as it is given and 10,000 at most; 0 for none.
        query_rounds: rounds those questions are spread over.
        validation_fraction: share of the rows not fitted to, on which `recovery_accuracy` and
            `history` are measured.
        patience: epochs without a better loss on the validation rows after which a stage stops,
            and goes back to its best weights; None to fit all epochs.
        scale: "column" standardises each column by its own spread; "shared" divides all by one
            spread, for columns that share a unit, such as pixels.
        seed: of the weights, the order of rows, and every other draw.
        show_progress: show a bar on standard error while fitting.

    Attributes:
        schema: as it was given.
        settings: all other options, as a frozen `FittingSettings`.
        recovery_accuracy: share of the validation rows (of the fitted rows if there are none) on
            which the surrogate gives the black box's class; None before `fit`.
        validity: share of perturbed rows (500 at most, validation rows first) that flip the black
            box, as fitted; None where `fit` asked it nothing beyond the rows.
        n_classes: K; None before `fit`.
        n_queries: rows the black box was asked about in `fit`; None before.
        history: by stage ("surrogate", "perturber", "rounds") and measure, one number an epoch
            or round; None before `fit`.

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

    @named_options(FittingSettings)
    def __init__(
        self, *, schema: FeatureSchema | None = None, **options: Unpack[FittingOptions]
    ) -> None:
        if schema is not None and not isinstance(schema, FeatureSchema):
            raise InvalidInputError(f"schema must be a FeatureSchema or None, is {schema!r:.60}")
        self.schema = schema
        self.settings = FittingSettings(**options)
        self.recovery_accuracy: float | None = None
        self.validity: float | None = None
        self.n_classes: int | None = None
        self.n_queries: int | None = None
        self.history: History | None = None
        self._fitted: FittedNetworks | None = None

    def __repr__(self) -> str:
        """The call that makes an explainer like this one, without defaults."""
        values = {"schema": self.schema, **asdict(self.settings)}
        defaults = {"schema": None, **asdict(FittingSettings())}
        return call_as_text(type(self).__name__, values, defaults)

    def fit(
        self, X: Any, black_box: BlackBox | Any | None = None, *, labels: Any = None
    ) -> MinimalPerturbation:
        """Fit surrogate and perturber to what the black box says of `X`.

        Args:
            X: (n, d) rows like those to be explained; both classes of every decision must occur.
                With a schema also a DataFrame of the features it names.
            black_box: a `BlackBox`, or anything it wraps. It is asked about each row unless
                `labels` are given, and about `query_budget` perturbed rows.
            labels: the black box's answers for `X`, (n,) classes or (n, K) probabilities; without
                a black box, all that is known of it. To a black box whole numbers are its columns.

        Returns:
            The explainer itself.

        Raises:
            InvalidInputError: for rows that cannot be used or do not fit the schema.
            ConstantPredictorError: if the black box gives all rows one class.
            PredictorError: if the black box does not answer properly.

        Warns:
            FitWarning: if `recovery_accuracy` is below 0.9 or `validity` below 0.95.
        """
        rows = self._rows(X, self.schema)
        schema = self.schema or FeatureSchema.all_continuous(rows.shape[1])
        schema.check(rows, bounds=True)
        box = None if black_box is None else as_black_box(black_box)
        answering = box if labels is None else _answered(labels, rows, box)
        if answering is None:
            raise InvalidInputError("fit needs a black box to ask, or the labels it gave")
        asked_before = box.n_queries if box else 0
        answers = answering.probabilities(rows)
        original_class = answers.argmax(dim=1)
        if (original_class == original_class[0]).all():
            raise ConstantPredictorError(
                f"the black box gives class {int(original_class[0])} for all {len(rows)} rows, so "
                "they show no way to another class; fit on rows of at least two classes"
            )
        numbers = [feature.column for feature in schema.continuous]
        mean, spread = units(rows, self.settings.scale == "shared", numbers)
        generator = Generator(rows.device).manual_seed(self.settings.seed)
        n_encoded, n_classes = schema.n_encoded, answers.shape[1]
        drawn = (self.settings.dropout, generator, rows.device)
        networks = FittedNetworks(
            schema,
            Surrogate(n_encoded, n_classes, self.settings.surrogate_widths, *drawn),
            Perturber(n_encoded, n_classes, self.settings.perturber_widths, *drawn),
            mean,
            spread,
            1 if self.settings.norm == "l1" else 2,
            None if answering.classes is None else list(answering.classes),
            answering.resolved_output_type,
        )
        fitted_to, validation = Pool(rows, answers, networks.encoded).split(
            self.settings.validation_fraction, generator
        )

        def ask(some: Tensor) -> Tensor:
            assert box is not None
            return box.probabilities(schema.decode(some).to(rows.dtype))

        budget = self.settings.query_budget
        if budget is None:
            budget = min(len(rows), _MOST_QUESTIONS)
        fit = TwoStageFit(networks, self.settings, fitted_to, validation, generator)
        with torch.enable_grad():
            fit.run(ask if box else None, budget)
        for network in (networks.surrogate, networks.perturber):
            network.freeze()
        with torch.no_grad():
            reference = fit.pool.sample(_N_REFERENCE, generator)
            networks = networks.with_mean_change(*reference)
            lengths = _shortest(networks, *reference, self.settings.seed)
            networks = replace(networks, lengths=lengths.sort().values)
            n_recovered = sum(
                int((networks.surrogate_class(encoded) == some.argmax(dim=1)).sum())
                for encoded, some in fit.measured.blocks()
            )
            recovery = n_recovered / len(fit.measured)
        # Published only now: a fit that is broken off leaves the earlier one usable.
        self._fitted, self.history, self.n_classes = networks, fit.history, n_classes
        self.recovery_accuracy, self.validity = recovery, fit.validity
        self.n_queries = box.n_queries - asked_before if box else 0
        self._warn()
        return self

    def predict(self, X: Any) -> Tensor:
        """Class (n,) that the surrogate gives rows (n, d).

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows that cannot be used.
        """
        fitted, _, encoded = self._ready(X)
        return fitted.surrogate_class(encoded)

    def certainty(self, X: Any, *, original_class: Tensor | None = None) -> Certainty:
        """How far rows (n, d) are from another decision: small means near the boundary.

        The length is of the shortest perturbation that leaves the class the row has for the
        surrogate: along the row's own, and among thirty points nearby. The black box is not asked.

        Args:
            X: (n, d) rows.
            original_class: (n,) the class each row has, if it is known; by default the surrogate's.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows that cannot be used.
        """
        fitted, rows, encoded = self._ready(X)
        with torch.no_grad():
            if original_class is None:
                original_class = fitted.surrogate_class(encoded)
            _check_original_class(original_class, len(rows), fitted.perturber.n_classes)
            length = _shortest(fitted, encoded, original_class, self.settings.seed)
            below = torch.searchsorted(fitted.lengths, length.to(fitted.lengths))
        return Certainty(length.to(rows.dtype), below.to(rows.dtype) / len(fitted.lengths))

    def perturb(
        self,
        X: Any,
        target: Any = None,
        *,
        original_class: Tensor | None = None,
        black_box: BlackBox | Any | None = None,
        line_search: bool = False,
        sparsify: bool = False,
        local_search: int = 0,
    ) -> Perturbation:
        """Find the smallest perturbation of each row that changes its class.

        Args:
            X: (n, d) rows, or with a schema a DataFrame.
            target: the class to reach: one for all rows, or (n,) of them; None or "other" for the
                class that is nearest by the length of its perturbation. A row whose target is its
                class already is not perturbed.
            original_class: (n,) the class each row has now, if it is known; by default the black
                box's where one is given, else the surrogate's.
            black_box: if given, it is asked about the perturbed rows (and about the rows
                themselves unless `original_class` is given), and the result says what succeeded.
            line_search: ask the black box along each row's perturbation for the shortest step that
                changes its class as wanted, and go just that far: shorter where the perturbation
                passed the boundary, longer where it fell short of it, and where no step helps
                along the mean perturbation towards the target. Where changed categories alone are
                enough, numbers stay as they are. At most 12 questions a row.
            sparsify: with `line_search`, also give each feature its old value back where the class
                stays changed without its change. At most two questions a feature and row.
            local_search: with `line_search`, at most so many questions a row more, for flips nearby
                that are nearer: a black box may have islands that no smooth surrogate shows.

        Returns:
            The perturbations, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows or targets that cannot be used.
        """
        if line_search and black_box is None:
            raise InvalidInputError("line_search asks the black box: hand it over as black_box=")
        if (sparsify or local_search) and not line_search:
            raise InvalidInputError("sparsify and local_search go with line_search=True")
        fitted, rows, encoded = self._ready(X)
        schema = fitted.schema
        box = None if black_box is None else _understood_as_in_fit(fitted, black_box)
        asked_before = box.n_queries if box else 0
        with torch.no_grad():
            if original_class is None:
                original_class = box.labels(rows) if box else fitted.surrogate_class(encoded)
            _check_original_class(original_class, len(rows), fitted.perturber.n_classes)
            any_other = target is None or (isinstance(target, str) and target == "other")
            if any_other:
                reached = fitted.nearest_other(encoded, original_class)
            else:
                reached = self._targets(target, len(rows)).to(rows.device)
            proposal = fitted.proposal(encoded, reached)
            if not any_other:
                there = reached == original_class
                proposal = torch.where(there[:, None], encoded, proposal)
            if box is None:
                after, success = schema.settle(encoded, proposal), None
            else:

                def flips(some: Tensor, points: Tensor) -> Tensor:
                    """Whether the black box changes its mind there as wanted."""
                    found = box.labels(schema.decode(points).to(rows.dtype))
                    if any_other:
                        return found != original_class[some]
                    return found == reached[some]

                search = CounterfactualSearch(fitted, encoded, proposal, flips)
                if line_search:
                    towards = fitted.mean_change.index_select(0, reached)
                    if sparsify:
                        # What is to be put back may be far: the way is cut short after that.
                        search.go_along(towards, shorten=False)
                        search.sparsify()
                        # Categories had questions of their own.
                        search.shorten(THIRDS if schema.categorical else QUARTERS)
                    else:
                        search.go_along(towards)
                    if local_search:
                        search.search_nearby(local_search, self.settings.seed, keep_zeros=sparsify)
                else:
                    search.ask_once()
                after, success = search.best, search.success
        perturbed = schema.decode(after).to(rows.dtype)
        return Perturbation(
            original=rows,
            perturbed=perturbed,
            original_class=original_class,
            target=reached,
            success=success,
            queries=box.n_queries - asked_before if box else 0,
            _length=partial(fitted.length, encoded, after),
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
        facts = {
            "settings": asdict(self.settings),
            "has_schema": self.schema is not None,
            "measured": {name: getattr(self, name) for name in _MEASURED},
            **self._fitted.to_dict(),
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
        explainer = cls(**without_removed(facts["settings"], REMOVED_SETTINGS))
        settings = explainer.settings
        fitted = FittedNetworks.from_saved(
            tensors, facts, settings.surrogate_widths, settings.perturber_widths
        )
        explainer._fitted = fitted
        if facts["has_schema"]:
            explainer.schema = fitted.schema
        for name, value in facts["measured"].items():
            setattr(explainer, name, value)
        return explainer

    def _rows(self, X: Any, schema: FeatureSchema | None) -> Tensor:
        if self.schema is not None and hasattr(X, "columns"):
            return self.schema.to_rows(X)
        return as_rows(X, n_columns=schema.n_columns if schema else None)

    def _ready(self, X: Any) -> tuple[FittedNetworks, Tensor, Tensor]:
        """What was fitted, and rows as they are and encoded."""
        if self._fitted is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        rows = self._rows(X, self._fitted.schema)
        encoded = self._fitted.encoded(rows)
        if not self._fitted.schema.hold_categories(encoded):
            self._fitted.schema.check(rows)
        return self._fitted, rows, encoded

    def _warn(self) -> None:
        """Say what to do about networks that will not serve."""
        if self.recovery_accuracy is not None and self.recovery_accuracy < _LOW_RECOVERY:
            warnings.warn(
                f"the surrogate gives the black box's class for {self.recovery_accuracy:.0%} of "
                "the rows only: fit on more rows, or raise epochs or surrogate_widths; if the "
                "black box knows the fitted rows by heart, as deep forests do, set "
                "validation_fraction to measure on others",
                FitWarning,
                stacklevel=3,
            )
        if self.validity is not None and self.validity < _LOW_VALIDITY:
            warnings.warn(
                f"{self.validity:.0%} of the perturbed rows flip the black box only: raise "
                "query_budget, lower penalty, set noise (1 to 2 for pixels), or find them with "
                "perturb(..., line_search=True)",
                FitWarning,
                stacklevel=3,
            )

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


_MEASURED = ("recovery_accuracy", "validity", "n_classes", "n_queries", "history")


def _answered(labels: Any, rows: Tensor, box: BlackBox | None) -> BlackBox:
    """A black box that has been asked already, about these rows."""
    classes = box.classes if box else None
    found = labels if isinstance(labels, Tensor) else np.asarray(labels)
    if box is not None and classes is None and found.ndim == 1 and _are_numbers(found):
        # The black box may give probabilities, whose columns these numbers are.
        classes = list(range(int(found.max()) + 1)) if len(found) else None
    answering = BlackBox(lambda _: found, classes=classes, batch_size=len(rows))
    if box is not None and box.classes is None:
        answering.labels(rows)
        box.classes = answering.classes
    return answering


def _are_numbers(labels: Tensor | np.ndarray[Any, Any]) -> bool:
    if isinstance(labels, Tensor):
        return not labels.is_floating_point() and labels.dtype != torch.bool
    return labels.dtype.kind in "iu"


def _understood_as_in_fit(fitted: FittedNetworks, black_box: BlackBox | Any) -> BlackBox:
    """A black box that numbers its classes and reads its outputs as the fitted one did."""
    box = as_black_box(black_box, output_type=fitted.output_type)
    if fitted.classes is not None:
        if box.classes is None:
            box.classes = list(fitted.classes)
        elif box.classes[: len(fitted.classes)] != fitted.classes:
            raise InvalidInputError(
                f"the black box numbers its classes {box.classes!r:.60}, in fit they were "
                f"{fitted.classes!r:.60}; hand over the BlackBox of fit, or give it `classes`"
            )
    return box


def _shortest(
    networks: FittedNetworks, encoded: Tensor, original_class: Tensor, seed: int
) -> Tensor:
    """Length (n,) of the shortest perturbation found that leaves a class (n,) of the surrogate."""
    parts = zip(encoded.split(_SOME_ROWS), original_class.split(_SOME_ROWS), strict=True)
    return torch.cat([_shortest_of(networks, *part, seed) for part in parts])


def _shortest_of(
    networks: FittedNetworks, encoded: Tensor, original_class: Tensor, seed: int
) -> Tensor:
    reached = networks.nearest_other(encoded, original_class)

    def flips(some: Tensor, points: Tensor) -> Tensor:
        return networks.surrogate_class(points) != original_class[some]

    search = CounterfactualSearch(networks, encoded, networks.proposal(encoded, reached), flips)
    search.go_along(networks.mean_change[reached])
    search.search_nearby(_N_NEARBY, seed, keep_zeros=False)
    return networks.length(encoded, search.best)


def _check_original_class(original_class: Tensor, n_rows: int, n_classes: int) -> None:
    if len(original_class) != n_rows:
        raise InvalidInputError(
            f"original_class has {len(original_class)} classes for {n_rows} rows"
        )
    low, high = original_class.aminmax()
    if low.item() < 0 or high.item() >= n_classes:
        unknown = (original_class < 0) | (original_class >= n_classes)
        row = int(unknown.nonzero()[0])
        raise InvalidInputError(
            f"row {row} has class {int(original_class[row])}; fit saw the classes 0 to "
            f"{n_classes - 1} only: fit on rows of every class"
        )
