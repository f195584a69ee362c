"""Makers of dice-ml's counterfactual generators: random, genetic, kd-tree, gradient."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.errors import MissingDependencyError, NotApplicableError, require
from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips, with_plain_names
from xai_adapters.explainers.host_state import seeded_and_silent
from xai_adapters.model.outputs import class_probabilities
from xai_adapters.model.state import left_as_found
from xai_adapters.registry import CounterfactualGenerator, Subject

if TYPE_CHECKING:
    from pandas import DataFrame

# Loaded with this module, as its seconds are not those of a fit; who needs it says so.
with suppress(MissingDependencyError):
    require("dice_ml", "dice")

_OUTCOME = "outcome"
# DiCE rounds numbers; a thousandth of a standard deviation is fine enough.
_PRECISION = 1e-3
# Genetic search asks for ever, row by row, where no random start is permitted and flips; this many
# questions, on top of the background that it asks about for each row, are enough elsewhere.
_MOST_QUESTIONS = 5_000


def dice_random(subject: Subject) -> CounterfactualGenerator:
    """Random draws of ever more features at once, 1,000 of them, made sparser afterwards."""
    return _dice(subject, "random")


def dice_genetic(subject: Subject) -> CounterfactualGenerator:
    """A genetic search that begins at training rows of the other class."""
    return _dice(subject, "genetic")


def dice_kdtree(subject: Subject) -> CounterfactualGenerator:
    """The nearest training rows of the other class that keep the constraints as they are."""
    return _dice(subject, "kdtree")


def dice_gradient(subject: Subject, **settings: Any) -> CounterfactualGenerator:
    """Gradient descent with DiCE's own loss, at least 500 steps a row.

    Args:
        subject: a torch module and its table.
        settings: further ones of DiCE's `generate_counterfactuals`, such as `min_iter`.

    Raises:
        NotApplicableError: without gradients.
    """
    subject.network()
    if subject.schema and any(not feature.one_hot for feature in subject.schema.categorical):
        raise NotApplicableError("needs gradients, which codes of categories do not have")
    return _dice(subject, "gradient", **settings)


def _dice(subject: Subject, method: str, **settings: Any) -> CounterfactualGenerator:
    dice_ml = require("dice_ml", "dice")
    # How DiCE says that there is no counterfactual.
    none_found = require("raiutils.exceptions", "dice").UserConfigValidationException
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
    asked: _Estimator | _OtherClass
    if method == "gradient":
        asked = _OtherClass(subject, table)
        model = dice_ml.Model(model=asked, backend="PYT", func="ohe-min-max")
    else:
        asked = _Estimator(table, subject.background.dtype)
        model = dice_ml.Model(model=asked, backend="sklearn")
    with seeded_and_silent(subject.seed, subject.background.device):
        explainer = dice_ml.Dice(data, model, method=method)
    settings = {"total_CFs": 1, "posthoc_sparsity_algorithm": "binary", **settings}

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        found = rows.clone()
        for at, (row, label) in enumerate(zip(rows.split(1), original_class.tolist(), strict=True)):
            vary, ranges = table.permitted(row)
            if not vary:
                continue
            with seeded_and_silent(subject.seed, rows.device), left_as_found(subject.model):
                desired = asked.desired(row, label)
                try:
                    explained = explainer.generate_counterfactuals(
                        table.frame(row), desired_class=desired, features_to_vary=vary,
                        permitted_range=ranges, **settings,
                    )  # fmt: skip
                except (_TooManyQuestionsError, none_found):
                    continue
            example = explained.cf_examples_list[0]
            # The sparser one is what DiCE shows; its search may end short of the flip.
            for frame in (example.final_cfs_df_sparse, example.final_cfs_df):
                if frame is not None and len(frame):
                    point = table.encoded(frame[:1], row)
                    if flips(torch.tensor([at], device=rows.device), point):
                        found[at] = point[0]
                        break
        return found

    return encoded.generator(search)


class _Table:
    """Encoded rows as DataFrames that DiCE can take, and what a row may change to.

    DiCE takes features apart by the beginnings of their names, wants numbers before categories,
    and turns categories into text: the schema's twin with plain names is proof against all three.
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
        """A DataFrame's row (1, e); what DiCE only rounded is what it was in `row`."""
        found = self.schema.to_rows(frame).to(row)
        steps = torch.tensor([10.0**-digits for digits in self.precision.values()]).to(row)
        c = self.subject.n_numbers
        near = (found[:, :c] - row[:, :c]).abs() <= 0.501 * steps
        found[:, :c] = torch.where(near, row[:, :c], found[:, :c])
        return found

    def permitted(self, row: Tensor) -> tuple[list[str], dict[str, list[Any]]]:
        """Names of the features of a row (1, e) that may vary, and the range of every feature.

        DiCE draws from ranges, so they end where the background does; categories that it does not
        hold are unknown to DiCE, and so is a row that has one. What may not vary gets the whole
        range, as DiCE divides by its extent.
        """
        schema, c = self.subject.schema, self.subject.n_numbers
        if not self.known.to(row.device)[row[0, c:] > 0.5].all():
            return [], {}
        vary: list[str] = []
        ranges: dict[str, list[Any]] = {}
        widest = torch.minimum(self.lowest, row[0, :c]), torch.maximum(self.highest, row[0, :c])
        lower, upper = (ends[0] for ends in schema.intervals(row))
        lower, upper = torch.maximum(lower, widest[0]), torch.minimum(upper, widest[1])
        for at, feature in enumerate(self.schema.continuous):
            ends: list[float] = [float(lower[at]), float(upper[at])]
            if feature.integer:
                ends = [math.ceil(ends[0]), math.floor(ends[1])]
            if ends[0] < ends[1]:
                vary.append(feature.name)
            else:
                ends = [float(widest[0][at]), float(widest[1][at])]
            ranges[feature.name] = ends
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


class _TooManyQuestionsError(Exception):
    pass


class _Estimator:
    """The black box as an estimator of DiCE's DataFrames, with a budget of questions a row."""

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
        found: np.ndarray[Any, Any]
        found = self._probabilities(self.table.schema.to_rows(frame)).cpu().numpy()
        return found

    def predict(self, frame: DataFrame) -> np.ndarray[Any, Any]:
        """Classes (n,)."""
        labels: np.ndarray[Any, Any] = self.predict_proba(frame).argmax(axis=1)
        return labels

    def _renew(self) -> None:
        self.left = _MOST_QUESTIONS + len(self.table.subject.background)

    def _probabilities(self, encoded: Tensor) -> Tensor:
        self.left -= len(encoded)
        if self.left < 0:
            raise _TooManyQuestionsError
        subject = self.table.subject
        rows = subject.schema.decode(encoded.to(subject.background.device)).to(self.dtype)
        return subject.black_box.probabilities(rows)


class _OtherClass(nn.Module):
    """The probability of all classes but the row's, as a module of DiCE's normalised columns.

    DiCE clears and fills the gradients of the module that it is given: the subject's network is
    kept out of its sight, and asked with detached weights.
    """

    def __init__(self, subject: Subject, table: _Table) -> None:
        super().__init__()
        self.original_class = 0
        network, like = subject.network(), table.subject.background
        graded = table.subject.gives_probabilities
        weights = {name: held.detach() for name, held in network.state_dict().items()}
        known = torch.cat((torch.ones_like(table.lowest, dtype=torch.bool), table.known))
        low, extent = table.lowest, table.highest - table.lowest

        def ask(normalised: Tensor) -> Tensor:
            """Probabilities (n, K) of rows of DiCE's columns: categories that it knows, only."""
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

        self._ask = ask

    def desired(self, row: Tensor, original_class: int) -> int:
        """The class to ask DiCE for: any but `original_class`."""
        self.original_class = original_class
        return 1

    def forward(self, normalised: Tensor) -> Tensor:
        """Probability (n, 1) of leaving the class; (1,) for one row (columns,)."""
        found = 1 - self._ask(torch.atleast_2d(normalised))[:, self.original_class, None]
        return found.view(*normalised.shape[:-1], 1).cpu()
