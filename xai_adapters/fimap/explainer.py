"""FIMAP: one network that gives the smallest perturbation flipping a black box's class."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from typing_extensions import Unpack

from xai_adapters.errors import (
    ConstantPredictorError,
    FitWarning,
    InvalidInputError,
    NotFittedError,
)
from xai_adapters.features.arguments import names_or_default
from xai_adapters.features.columns import column_names, in_order_of
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap.certainty import shortest_length
from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.labels import (
    black_box_as_in_fit,
    check_original_class,
    recorded_black_box,
    target_classes,
)
from xai_adapters.fimap.pool import Pool
from xai_adapters.fimap.results import Certainty, Perturbation
from xai_adapters.fimap.search import CounterfactualSearch
from xai_adapters.fimap.settings import REMOVED_SETTINGS, FittingOptions, FittingSettings
from xai_adapters.fimap.training import History, TwoStageFit, new_networks
from xai_adapters.model.black_box import BlackBox, as_black_box
from xai_adapters.utils.options import (
    check_flag,
    check_whole_number,
    named_options,
    shown,
)
from xai_adapters.utils.persistence import read_explainer, without_removed, write_explainer
from xai_adapters.utils.rows import as_rows

# Fitted rows whose perturbations give the rank of a length and the mean change.
_N_REFERENCE = 2000
# Default query budget of `fit` at most: each queried row has to be kept.
_LARGEST_BUDGET = 10_000
_LOW_RECOVERY, _LOW_VALIDITY = 0.9, 0.95
_MEASURES = ("recovery_accuracy", "validity", "n_classes", "n_queries", "history")


class MinimalPerturbation:
    """FIMAP: fit once to any black box, then explain thousands of rows in one forward pass.

    A surrogate network learns the black box's class (equation 2), then, with its weights frozen, a
    perturber learns for each row the smallest change that makes the surrogate give another class:
    cross-entropy to the class to reach plus what the change costs (equations 3 and 5); categories
    are drawn by a Gumbel-softmax while fitting (equation 4). Then the black box is queried for
    perturbed rows, and both networks are fitted further to its answers: a perturbation that fools
    only the surrogate is worth little. Numbers are standardised inside; results come back in the
    user's units and keep every constraint of the schema. The black box is queried in `fit`, and in
    `perturb` only if it is given; it is never kept.

    Chapman-Rounds et al., "FIMAP: Feature Importance by Minimal Adversarial Perturbation",
    AAAI 2021. The paper's own setting is `query_budget=0, soft_labels=False`. For many correlated
    columns such as pixels, fits with different seeds agree better with one wide layer in the
    perturber than with the paper's four (`perturber_widths=(400,)`).

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
        max_categories: changed categories beyond this number cost eleven times as much, so that
            results can be read; None for no limit.
        noise: standard deviation of Gaussian noise on standardised continuous columns while
            fitting. It smooths the surrogate, and what flips a smooth surrogate flips the black
            box more often: 1 to 2 for pixels, 0 to 0.1 for tables.
        soft_labels: let the surrogate learn the black box's probabilities where it gives them, not
            the classes alone.
        query_budget: rows `fit` may query the black box for beyond those it is given; by default
            as many as it is given and 10,000 at most; 0 for none.
        query_rounds: rounds those queries are spread over.
        validation_fraction: share of the rows held out from fitting, on which `recovery_accuracy`
            and `history` are measured.
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
            box, as fitted; None where `fit` queried no perturbed rows.
        n_classes: K; None before `fit`.
        n_queries: rows the black box was queried for in `fit`; None before.
        history: by stage ("surrogate", "perturber", "rounds") and measure, one number an epoch
            or round; None before `fit`.

    Raises:
        UnknownOptionError: for an option that does not exist; the nearest one is suggested.
        InvalidInputError: for an option of the wrong type or out of range.

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
        return shown(self, {"schema": self.schema, **asdict(self.settings)})

    @named_options()
    def fit(
        self, X: Any, black_box: BlackBox | Any | None = None, *, labels: Any = None
    ) -> MinimalPerturbation:
        """Fit surrogate and perturber to the black box's answers for `X`.

        Args:
            X: (n, d) rows like those to be explained; both classes of every decision must occur.
                With a schema also a DataFrame of the features it names.
            black_box: a `BlackBox`, or anything it wraps. It is queried for each row unless
                `labels` are given, and for `query_budget` perturbed rows.
            labels: the black box's answers for `X`, (n,) classes or (n, K) probabilities; without
                a black box nothing else is fitted to. With one, whole numbers are its columns.

        Returns:
            The explainer itself.

        Raises:
            InvalidInputError: for rows that cannot be used or do not fit the schema.
            ConstantPredictorError: if the black box gives all rows one class.
            PredictorError: if the black box does not answer properly.

        Warns:
            FitWarning: if `recovery_accuracy` is below 0.9 or `validity` below 0.95.
        """
        settings = self.settings
        rows = self._rows(X, self.schema)
        schema = self.schema or FeatureSchema.all_continuous(rows.shape[1], names=column_names(X))
        schema.check(rows, bounds=True)
        box = None if black_box is None else as_black_box(black_box)
        answering = box if labels is None else recorded_black_box(labels, rows, box)
        if answering is None:
            raise InvalidInputError("fit needs a black box to query, or the labels it gave")
        queries_before = box.n_queries if box else 0
        answers = answering.probabilities(rows)
        original_class = answers.argmax(dim=1)
        if (original_class == original_class[0]).all():
            raise ConstantPredictorError(_only_one_class(answering, int(original_class[0]), rows))
        generator = Generator(rows.device).manual_seed(settings.seed)
        networks = new_networks(settings, schema, rows, answers.shape[1], answering, generator)
        pool, validation = Pool(rows, answers, networks.encoded).split(
            settings.validation_fraction, generator
        )

        def query(encoded: Tensor) -> Tensor:
            assert box is not None
            return box.probabilities(schema.decode(encoded).to(rows.dtype))

        budget = settings.query_budget
        if budget is None:
            budget = min(len(rows), _LARGEST_BUDGET)
        fit = TwoStageFit(networks, settings, pool, validation, generator)
        with torch.enable_grad():
            fit.run(query if box else None, budget)
        for network in (networks.surrogate, networks.perturber):
            network.freeze()
        with torch.no_grad():
            reference = fit.pool.sample(_N_REFERENCE, generator)
            networks = networks.with_mean_change(*reference)
            lengths = shortest_length(networks, *reference, settings.seed)
            networks = replace(networks, lengths=lengths.sort().values)
            recovery_accuracy = fit.recovery_accuracy()
        # Published only now: a fit that is interrupted leaves the earlier one usable.
        self._fitted, self.history, self.n_classes = networks, fit.history, answers.shape[1]
        self.recovery_accuracy, self.validity = recovery_accuracy, fit.validity
        self.n_queries = box.n_queries - queries_before if box else 0
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

    def class_probabilities(self, encoded: Tensor) -> Tensor:
        """Class probabilities (n, K) that the surrogate gives encoded rows; differentiable.

        Args:
            encoded: (n, e) rows as the schema encodes them (see `FeatureSchema.encode`); without
                categories these are the rows themselves.

        Raises:
            NotFittedError: before `fit`.
        """
        return self._networks().class_probabilities(encoded)

    @named_options()
    def certainty(self, X: Any, *, original_class: Tensor | None = None) -> Certainty:
        """How far rows (n, d) are from another decision: small means near the boundary.

        The length is of the shortest perturbation that leaves the class the row has for the
        surrogate: along the row's own, and among thirty points nearby. The black box is not
        queried.

        Args:
            X: (n, d) rows.
            original_class: (n,) the class each row has, if it is known; by default the surrogate's.

        Returns:
            Lengths and ranks, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows that cannot be used.
        """
        fitted, rows, encoded = self._ready(X)
        with torch.no_grad():
            if original_class is None:
                original_class = fitted.surrogate_class(encoded)
            check_original_class(original_class, len(rows), fitted.perturber.n_classes)
            length = shortest_length(fitted, encoded, original_class, self.settings.seed)
            below = torch.searchsorted(fitted.lengths, length.to(fitted.lengths))
        return Certainty(length.to(rows.dtype), below.to(rows.dtype) / len(fitted.lengths))

    @named_options()
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
            black_box: if given, it is queried for the perturbed rows (and for the rows themselves
                unless `original_class` is given), and `success` says which changes it confirms.
            line_search: query the black box along each row's perturbation for the shortest step
                that changes its class as wanted, and go just that far: shorter where the
                perturbation passed the boundary, longer where it fell short, and where no step
                helps along the mean perturbation to the target. Where changed categories alone are
                enough, numbers stay as they are. At most 12 queries a row.
            sparsify: with `line_search`, also undo the change of each feature without which the
                class stays changed. At most two queries a feature and row.
            local_search: with `line_search`, at most this many more queries a row for nearer flips
                nearby: a black box may have islands that no smooth surrogate shows.

        Returns:
            The perturbations, on the rows' device and in their dtype.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for rows, targets or options that cannot be used.

        Example:
            >>> def rule(X):
            ...     return X[:, 0] > 0
            >>> X = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
            >>> explainer = MinimalPerturbation(epochs=5, batch_size=32).fit(X, rule)
            >>> nearest = explainer.perturb(torch.tensor([[1.0, 0.0]]), black_box=rule,
            ...                             line_search=True, sparsify=True)
            >>> nearest.success.tolist(), round(nearest.perturbed[0, 0].item(), 1)
            ([True], -0.0)
        """
        check_flag("line_search", line_search)
        check_flag("sparsify", sparsify)
        check_whole_number("local_search", local_search, at_least=0)
        if line_search and black_box is None:
            raise InvalidInputError("line_search queries the black box: give it as black_box=")
        if (sparsify or local_search) and not line_search:
            raise InvalidInputError("sparsify and local_search go with line_search=True")
        fitted, rows, encoded = self._ready(X)
        schema, n_classes = fitted.schema, fitted.perturber.n_classes
        box = None if black_box is None else black_box_as_in_fit(fitted, black_box)
        queries_before = box.n_queries if box else 0
        with torch.no_grad():
            if original_class is None:
                original_class = box.labels(rows) if box else fitted.surrogate_class(encoded)
            check_original_class(original_class, len(rows), n_classes)
            original_class = original_class.clone()
            any_other = target is None or (isinstance(target, str) and target == "other")
            if any_other:
                target_class = fitted.nearest_other(encoded, original_class)
            else:
                target_class = target_classes(target, len(rows), n_classes).to(rows.device)
            proposal = fitted.proposal(encoded, target_class)
            if not any_other:
                is_there = target_class == original_class
                proposal = torch.where(is_there[:, None], encoded, proposal)
            if box is None:
                after, success = schema.settle(encoded, proposal), None
            else:

                def flips(positions: Tensor, points: Tensor) -> Tensor:
                    """Whether the black box decides as wanted at points of the rows there."""
                    labels = box.labels(schema.decode(points).to(rows.dtype))
                    if any_other:
                        return labels != original_class[positions]
                    return labels == target_class[positions]

                search = CounterfactualSearch(fitted, encoded, proposal, flips)
                if line_search:
                    search.refine(
                        fitted.mean_change.index_select(0, target_class),
                        sparsify=sparsify,
                        local_search=local_search,
                        seed=self.settings.seed,
                    )
                else:
                    search.confirm()
                after, success = search.best, search.success
        return Perturbation(
            original=rows,
            perturbed=schema.decode(after).to(rows.dtype),
            original_class=original_class,
            target=target_class,
            success=success,
            queries=box.n_queries - queries_before if box else 0,
            _length=partial(fitted.length, encoded, after),
            _surrogate_class=fitted.predict,
        )

    def save(self, path: str | Path) -> None:
        """Write the fitted explainer to one file, without the data or the black box.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: if the black box's class labels are neither text nor numbers.
            OSError: if the file cannot be written.
        """
        if self._fitted is None:
            raise NotFittedError("there is nothing to save yet; call fit first")
        values = {
            "settings": asdict(self.settings),
            "has_schema": self.schema is not None,
            "measured": {name: getattr(self, name) for name in _MEASURES},
            **self._fitted.to_dict(),
        }
        write_explainer(path, type(self).__name__, self._fitted.tensors(), values)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> MinimalPerturbation:
        """Read an explainer that `save` wrote; it explains as it did when it was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            SavedExplainerError: if the file is truncated, foreign, of a newer version, or was
                saved with an option that no longer exists.
        """
        tensors, values = read_explainer(path, cls.__name__, device)
        explainer = cls(**without_removed(values["settings"], REMOVED_SETTINGS))
        settings = explainer.settings
        explainer._fitted = FittedNetworks.from_saved(
            tensors, values, settings.surrogate_widths, settings.perturber_widths
        )
        if values["has_schema"]:
            explainer.schema = explainer._fitted.schema
        for name, value in values["measured"].items():
            setattr(explainer, name, value)
        return explainer

    def _rows(self, X: Any, schema: FeatureSchema | None) -> Tensor:
        if self.schema is not None and hasattr(X, "columns"):
            return self.schema.to_rows(X)
        if schema is not None and list(schema.names) != names_or_default(None, schema.n_columns):
            # Those of the frame that was fitted to.
            X = in_order_of(X, schema.names)
        return as_rows(X, n_columns=schema.n_columns if schema else None)

    def _networks(self) -> FittedNetworks:
        if self._fitted is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        return self._fitted

    def _ready(self, X: Any) -> tuple[FittedNetworks, Tensor, Tensor]:
        """The fitted networks, and a copy of the rows as they are and encoded.

        Results hold it: they do not change when the caller's memory does.
        """
        fitted = self._networks()
        rows = self._rows(X, fitted.schema).clone()
        encoded = fitted.encoded(rows)
        if not fitted.schema.hold_categories(encoded):
            fitted.schema.check(rows)
        return fitted, rows, encoded

    def _warn(self) -> None:
        """Warn of networks that serve badly, and say what to do."""
        if self.recovery_accuracy is not None and self.recovery_accuracy < _LOW_RECOVERY:
            warnings.warn(
                f"the surrogate gives the black box's class for only {self.recovery_accuracy:.0%} "
                "of the rows: fit on more rows, or raise epochs or surrogate_widths; if the black "
                "box has memorised the fitted rows, as deep forests do, set validation_fraction "
                "to measure on others",
                FitWarning,
                stacklevel=4,
            )
        if self.validity is not None and self.validity < _LOW_VALIDITY:
            warnings.warn(
                f"only {self.validity:.0%} of the perturbed rows flip the black box: raise "
                "query_budget, lower penalty, set noise (1 to 2 for pixels), or use "
                "perturb(..., line_search=True)",
                FitWarning,
                stacklevel=4,
            )


def _only_one_class(black_box: BlackBox, number: int, rows: Tensor) -> str:
    """Say that there is no way to another class, and what may be wrong."""
    classes = black_box.classes or []
    label = classes[number] if number < len(classes) else number
    text = f"the black box gives class {label!r} for all {len(rows)} rows, so they show no way to "
    if black_box.has_single_output and black_box.threshold is None:
        return text + (
            "another class; it returns one number a row: say with threshold= above which value it "
            "decides for class 1"
        )
    return text + "another class; fit on rows of at least two classes"
