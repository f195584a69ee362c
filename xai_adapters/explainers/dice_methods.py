"""dice-ml's counterfactual generators: random, genetic, kd-tree, gradient."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.errors import NotApplicableError, require
from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips, with_plain_names
from xai_adapters.explainers.host_state import seeded_and_silent
from xai_adapters.model.outputs import class_probabilities
from xai_adapters.model.state import left_as_found
from xai_adapters.registry.claims import GLOBAL_GENERATORS, QUERIES_MODEL, Claims, claims_nothing
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

if TYPE_CHECKING:
    from pandas import DataFrame

_OUTCOME = "outcome"
# DiCE rounds numbers; a thousandth of a standard deviation is fine enough.
_PRECISION = 1e-3
# Genetic search goes on for ever where no random start is permitted and flips; elsewhere this many
# queries a row are enough, besides the background that it queries for each row.
_MAX_QUERIES = 5_000

_CLAIMS: Claims = {
    **QUERIES_MODEL,
    "validity": "it may return its last candidate, which is not always a counterfactual",
    "counterfactual_batch_independence": GLOBAL_GENERATORS,
}
_dice = partial(registered, baseline="data", kind="counterfactual", block_size=1, host="dice_ml")


@_dice(claims=_CLAIMS)
def dice_random(subject: Subject) -> CounterfactualGenerator:
    """DiCE, random sampling.

    It draws 1,000 changes of ever more features at once, and makes them sparser afterwards.
    """
    return _generator(subject, "random")


@_dice(
    claims=claims_nothing(
        "it searches for minutes where no permitted change flips", "counterfactual"
    )
)
def dice_genetic(subject: Subject) -> CounterfactualGenerator:
    """DiCE, genetic search.

    It begins at training rows of the other class.
    """
    return _generator(subject, "genetic")


@_dice(claims=_CLAIMS)
def dice_kdtree(subject: Subject) -> CounterfactualGenerator:
    """DiCE, training rows from a kd-tree.

    They are the nearest of the other class that keep the constraints as they are.
    """
    return _generator(subject, "kdtree")


@_dice(claims=claims_nothing("it takes minutes for a few rows", "counterfactual"))
def dice_gradient(
    subject: Subject, *, min_iter: int = 500, max_iter: int = 5_000
) -> CounterfactualGenerator:
    """DiCE, gradient descent.

    Args:
        subject: a torch module and its table.
        min_iter: least number of steps for a row.
        max_iter: largest number of steps for a row.

    Raises:
        NotApplicableError: without gradients.
    """
    subject.network()
    if subject.schema and any(not feature.one_hot for feature in subject.schema.categorical):
        raise NotApplicableError("needs gradients, which codes of categories do not have")
    return _generator(subject, "gradient", min_iter=min_iter, max_iter=max_iter)


def _generator(subject: Subject, method: str, **options: Any) -> CounterfactualGenerator:
    dice_ml = require("dice_ml", "dice")
    # DiCE raises it where there is no counterfactual.
    none_found_error = require("raiutils.exceptions", "dice").UserConfigValidationException
    encoded = EncodedSubject.of(subject)
    table = _Table(encoded)
    frame = table.frame(encoded.background)
    labels = encoded.labels(encoded.background, subject.background.dtype)
    frame[_OUTCOME] = labels.cpu().numpy()
    data = dice_ml.Data(
        dataframe=frame,
        continuous_features=list(table.schema.names[: encoded.n_numbers]),
        outcome_name=_OUTCOME,
        continuous_features_precision=table.precision,
    )
    queried: _Estimator | _OtherClass
    if method == "gradient":
        queried = _OtherClass(subject, table)
        model = dice_ml.Model(model=queried, backend="PYT", func="ohe-min-max")
    else:
        queried = _Estimator(table, subject.background.dtype)
        model = dice_ml.Model(model=queried, backend="sklearn")
    with seeded_and_silent(subject.seed, subject.background.device):
        explainer = dice_ml.Dice(data, model, method=method)
    settings = {"total_CFs": 1, "posthoc_sparsity_algorithm": "binary", **options}

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        points = rows.clone()
        for at, (row, label) in enumerate(zip(rows.split(1), original_class.tolist(), strict=True)):
            vary, ranges = table.permitted(row)
            if not vary:
                continue
            with seeded_and_silent(subject.seed, rows.device), left_as_found(subject.model):
                desired = queried.desired(row, label)
                try:
                    explained = explainer.generate_counterfactuals(
                        table.frame(row), desired_class=desired, features_to_vary=vary,
                        permitted_range=ranges, **settings,
                    )  # fmt: skip
                except (_TooManyQueriesError, none_found_error):
                    continue
            example = explained.cf_examples_list[0]
            # DiCE shows the sparser one, but its search may end before the class flips.
            for frame in (example.final_cfs_df_sparse, example.final_cfs_df):
                if frame is not None and len(frame):
                    point = table.encoded(frame[:1], row)
                    if flips(torch.tensor([at], device=rows.device), point):
                        points[at] = point[0]
                        break
        return points

    return encoded.generator(search, settings)


class _Table:
    """Encoded rows as DataFrames that DiCE can take, and what a row may change to.

    DiCE tells features apart by prefixes of their names, wants numbers before categories and turns
    categories into text: the schema with plain names is safe from all three.
    """

    def __init__(self, encoded: EncodedSubject) -> None:
        self.schema = with_plain_names(encoded.schema, one_hot=True)
        self.subject = encoded
        self.precision = {
            feature.name: 0
            if feature.integer
            else max(0, math.ceil(-math.log10(_PRECISION * unit)))
            for feature, unit in zip(self.schema.continuous, encoded.unit.tolist(), strict=True)
        }
        numbers = encoded.background[:, : encoded.n_numbers]
        self.lowest, self.highest = numbers.amin(dim=0), numbers.amax(dim=0)
        self.known = encoded.background[:, encoded.n_numbers :].amax(dim=0) > 0

    def frame(self, encoded: Tensor) -> DataFrame:
        """Encoded rows as one column a feature; DiCE writes float64 into columns as they are."""
        return self.schema.to_dataframe(encoded.double())

    def encoded(self, frame: DataFrame, row: Tensor) -> Tensor:
        """A DataFrame's row (1, e), with the values of `row` where DiCE has only rounded them."""
        encoded = self.schema.to_rows(frame).to(row)
        steps = torch.tensor([10.0**-digits for digits in self.precision.values()]).to(row)
        c = self.subject.n_numbers
        near = (encoded[:, :c] - row[:, :c]).abs() <= 0.501 * steps
        encoded[:, :c] = torch.where(near, row[:, :c], encoded[:, :c])
        return encoded

    def permitted(self, row: Tensor) -> tuple[list[str], dict[str, list[Any]]]:
        """Names of the features of a row (1, e) that may vary, and the range of every feature.

        DiCE samples from ranges, so they end where the background does. Categories that are not in
        the background are unknown to DiCE, and so are rows that have one. What may not vary gets
        the whole range, as DiCE divides by its extent.
        """
        schema, c = self.subject.schema, self.subject.n_numbers
        if not self.known.to(row.device)[row[0, c:] > 0.5].all():
            return [], {}
        vary: list[str] = []
        ranges: dict[str, list[Any]] = {}
        widest = torch.minimum(self.lowest, row[0, :c]), torch.maximum(self.highest, row[0, :c])
        lower, upper = (bound[0] for bound in schema.intervals(row))
        lower, upper = torch.maximum(lower, widest[0]), torch.minimum(upper, widest[1])
        for at, feature in enumerate(self.schema.continuous):
            bounds: list[float] = [float(lower[at]), float(upper[at])]
            if feature.integer:
                bounds = [math.ceil(bounds[0]), math.floor(bounds[1])]
            if bounds[0] < bounds[1]:
                vary.append(feature.name)
            else:
                bounds = [float(widest[0][at]), float(widest[1][at])]
            ranges[feature.name] = bounds
        sizes = schema.group_sizes
        for category, may, known in zip(
            self.schema.categorical,
            (schema.choices(row)[0] & self.known).split(sizes),
            self.known.split(sizes),
            strict=True,
        ):
            free = category.mutable and int(may.sum()) > 1
            held = (may if free else known).tolist()
            ranges[category.name] = [
                text for text, holds in zip(category.categories, held, strict=True) if holds
            ]
            if free:
                vary.append(category.name)
        return vary, ranges


class _TooManyQueriesError(Exception):
    pass


class _Estimator:
    """The black box as an estimator of DiCE's DataFrames, with a budget of queries a row."""

    def __init__(self, table: _Table, dtype: torch.dtype) -> None:
        self.table, self.dtype = table, dtype
        self._renew()

    def desired(self, row: Tensor, original_class: int) -> int:
        """The class to ask DiCE for: the likeliest of the others."""
        self._renew()
        probabilities = self._probabilities(row)[0]
        probabilities[original_class] = -1
        return int(probabilities.argmax())

    def predict_proba(self, frame: DataFrame) -> np.ndarray[Any, Any]:
        """Class probabilities (n, K)."""
        probabilities = self._probabilities(self.table.schema.to_rows(frame))
        array: np.ndarray[Any, Any] = probabilities.cpu().numpy()
        return array

    def predict(self, frame: DataFrame) -> np.ndarray[Any, Any]:
        """Classes (n,)."""
        labels: np.ndarray[Any, Any] = self.predict_proba(frame).argmax(axis=1)
        return labels

    def _renew(self) -> None:
        self.left = _MAX_QUERIES + len(self.table.subject.background)

    def _probabilities(self, encoded: Tensor) -> Tensor:
        self.left -= len(encoded)
        if self.left < 0:
            raise _TooManyQueriesError
        subject = self.table.subject
        rows = subject.schema.decode(encoded.to(subject.background.device)).to(self.dtype)
        return subject.black_box.probabilities(rows)


class _OtherClass(nn.Module):
    """The probability of all classes but the row's, as a module of DiCE's normalised columns.

    DiCE clears and fills the gradients of the module that it is given, so it never sees the
    subject's network, which is called with detached weights.
    """

    def __init__(self, subject: Subject, table: _Table) -> None:
        super().__init__()
        self.original_class = 0
        network, like = subject.network(), table.subject.background
        graded = table.subject.gives_probabilities
        weights = {name: held.detach() for name, held in network.state_dict().items()}
        known = torch.cat((torch.ones_like(table.lowest, dtype=torch.bool), table.known))
        low, extent = table.lowest, table.highest - table.lowest

        def query(normalised: Tensor) -> Tensor:
            """Probabilities (n, K) of rows of DiCE's columns, which hold known categories only."""
            points = like.new_zeros(len(normalised), len(known))
            points[:, known] = normalised.to(like)
            numbers = points[:, : len(low)] * extent + low
            rows = table.subject.schema.decode(torch.cat((numbers, points[:, len(low) :]), dim=1))
            outputs = torch.func.functional_call(
                network, weights, (rows.to(subject.background.dtype),)
            )
            return class_probabilities(
                outputs, torch.full_like(outputs[:, 0], graded, dtype=torch.bool)
            )

        self._query = query

    def desired(self, row: Tensor, original_class: int) -> int:
        """The class to ask DiCE for: any but `original_class`."""
        self.original_class = original_class
        return 1

    def forward(self, normalised: Tensor) -> Tensor:
        """Probability (n, 1) of leaving the class; (1,) for one row (columns,)."""
        other = 1 - self._query(torch.atleast_2d(normalised))[:, self.original_class, None]
        return other.view(*normalised.shape[:-1], 1).cpu()
