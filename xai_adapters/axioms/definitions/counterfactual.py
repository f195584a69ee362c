"""What counterfactuals promise: to be ones, and to be permitted.

A row x has the class argmax f(x); c(x) is its counterfactual, and c(x; k) the one of class k. The
explainer may be called in any of the ways of `xai_adapters.axioms.answers.counterfactuals`. Rows on
a boundary, whose largest two outputs are equal, are left out: they have no class of their own.
Axioms of given counterfactuals say nothing about rows for which none is given; `coverage` does.
"""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.columns import Column, as_table, violation
from xai_adapters.axioms.cases.drawing import classes_to_reach, rows_of_classes, several_rows
from xai_adapters.axioms.explained import (
    Explained,
    decided_rows,
    explained,
    explaining,
    labels,
    numbers_of,
)
from xai_adapters.axioms.finding import Finding, rounded, worst_row
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial
from xai_adapters.errors import NotApplicableError

_WACHTER = "Wachter, Mittelstadt and Russell 2018"
_SHARE = "1, as the gap is a share of the rows"


def _share(
    trial: Trial, found: Explained, rows: Tensor, wrong: Tensor, expected: list[str]
) -> Finding:
    """The share of some rows (a,) that are wrong (a,), with the first of those as an example.

    Raises:
        NotApplicableError: if there are none.
    """
    if len(rows) == 0:
        raise NotApplicableError("it finds no counterfactual here")
    first = int(wrong.int().argmax())
    before, after = found.before[rows[first]], found.after[rows[first]]
    return Finding(
        float(wrong.double().mean()),
        trial.tolerance(1.0),
        f"{expected[first]} for {rounded(before)}",
        f"class {int(labels(found.model, after[None]))} at {rounded(after)}",
    )


def _another(found: Explained, rows: Tensor) -> list[str]:
    return [f"another class than {label}" for label in found.original_class[rows].tolist()]


@define(
    rows_of_classes,
    statement="What is given as a counterfactual has another class than its row, for the model "
    "itself and in the row's own precision.",
    formula="argmax f(c(x)) != argmax f(x)",
    source=f"{_WACHTER}; as validity Guidotti 2022",
    kind="counterfactual",
    scale=_SHARE,
    atol=0,
    rtol=0,
)
def validity(trial: Trial) -> Finding:
    """The share of the given counterfactuals that the model gives the row's own class."""
    found = explained(trial)
    rows = numbers_of(found.given)
    wrong = ~found.reaches(found.after[rows], rows)
    return _share(trial, found, rows, wrong, _another(found, rows))


@define(
    classes_to_reach,
    statement="A counterfactual for a class has that class, for the model itself.",
    formula="argmax f(c(x; k)) = k",
    source=_WACHTER,
    kind="counterfactual",
    scale=_SHARE,
    atol=0,
    rtol=0,
)
def target_reached(trial: Trial) -> Finding:
    """The share of the given counterfactuals that the model gives another class than asked for."""
    found = explained(trial, to_targets=True)
    assert found.target is not None
    rows = numbers_of(found.given)
    wrong = ~found.reaches(found.after[rows], rows)
    return _share(trial, found, rows, wrong, [f"class {k}" for k in found.target[rows].tolist()])


@define(
    rows_of_classes,
    statement="Where a background row shows that another class exists, a counterfactual is found.",
    formula="argmax f(z) != argmax f(x) for a background row z  =>  c(x) is given, and valid",
    source=f"as feasibility {_WACHTER}; evaluations count it as validity over all rows",
    kind="counterfactual",
    scale=_SHARE,
    atol=0,
    rtol=0,
)
def coverage(trial: Trial) -> Finding:
    """The share of the rows that have no valid counterfactual, though there is one."""
    found = explained(trial)
    known = labels(found.model, trial.background)
    rows = numbers_of((known != found.original_class[:, None]).any(dim=1))
    wrong = ~(found.given[rows] & found.reaches(found.after[rows], rows))
    return _share(trial, found, rows, wrong, _another(found, rows))


@define(
    rows_of_classes,
    statement="What the explainer says of its success is what the model says.",
    formula="success(x)  <=>  argmax f(c(x)) != argmax f(x)",
    source="an optimiser's flag, as scipy.optimize's",
    kind="counterfactual",
    scale=_SHARE,
    atol=0,
    rtol=0,
)
def honest_success(trial: Trial) -> Finding:
    """The share of the rows whose success is not the model's word."""
    found = explained(trial)
    if found.success is None:
        raise NotApplicableError("it says nothing of its success")
    every = torch.arange(len(found.before))
    true = found.reaches(found.after, every)
    return _share(
        trial, found, every, found.success != true, [f"success {it}" for it in true.tolist()]
    )


_LIMITS: tuple[Column, ...] = ("up", "down", "whole", [-1, 1], [0, 2], "fixed", "free")


@st.composite
def _limited_features(draw: DrawFn, domain: Domain) -> Case:
    case = draw(rows_of_classes(domain, min_rows=3))
    features = [draw(st.sampled_from(_LIMITS)) for _ in range(case.network.n_features)]
    return _of_table(case, features)


def _of_table(case: Case, features: list[Column]) -> Case:
    rows = as_table(torch.tensor(case.rows), features).tolist()
    return Case(case.network, rows, case.targets, features=features)


@define(
    _limited_features,
    statement="Every changed row keeps to what its features may be: fixed ones stay, others go up "
    "or down only, stay whole, or within their bounds.",
    formula="l <= c(x) <= u, c_i(x) = x_i for fixed i, c_i(x) >= x_i for i that may rise only",
    source="Ustun, Spangher and Liu 2019: actionability",
    kind="counterfactual",
    scale="nothing: what is allowed is rounding",
    rtol=0,
)
def constraints(trial: Trial) -> Finding:
    """How far the worst feature of each changed row is from what it may be."""
    return _permitted(trial)


@st.composite
def _with_categories(draw: DrawFn, domain: Domain) -> Case:
    """At least one category; the rest are categories too, or free numbers."""
    case = draw(rows_of_classes(domain, min_features=2))
    features: list[Column] = []
    left = case.network.n_features
    while left:
        sizes: list[int | str] = [size for size in (2, 3) if size <= left]
        chosen = draw(st.sampled_from([*sizes, "free"] if features else sizes))
        features.append(chosen)
        left -= chosen if isinstance(chosen, int) else 1
    return _of_table(case, features)


@define(
    _with_categories,
    statement="A category stays one: of its columns one holds 1, the others 0.",
    formula="c_g(x) in {e_1, .., e_k} for each group g of k columns",
    source="Mothilal, Sharma and Tan 2020",
    kind="counterfactual",
    scale="nothing: what is allowed is rounding",
    rtol=0,
)
def one_hot(trial: Trial) -> Finding:
    """How far the worst column of each changed row is from 0 or 1 as it should be."""
    return _permitted(trial)


def _permitted(trial: Trial) -> Finding:
    found = explained(trial)
    if (found.after == found.before).all():
        raise NotApplicableError("it changes no row here")
    features = trial.details["features"]
    off = violation(found.before, found.after, features)
    return worst_row(
        off,
        trial.tolerance(torch.zeros_like(off)),
        [f"{rounded(row)} changed within {features}" for row in found.before],
        found.after,
    )


@define(
    several_rows,
    statement="A row gets the same counterfactual alone, in a batch, and in another order.",
    formula="c(X)_r = c(X_r)",
    source="as Captum and scikit-learn do",
    kind="counterfactual",
    scale="the length of the row's step",
)
def counterfactual_batch_independence(trial: Trial) -> Finding:
    """Rows one by one against the batch, and against the batch the other way round."""
    model = trial.model()
    rows, _ = decided_rows(trial, model, at_least=2)
    explain = explaining(trial, model)
    alone = torch.cat([explain(row).after for row in rows.split(1)])
    together, turned = explain(rows).after, explain(rows.flip(0)).after.flip(0)
    scale = (alone - rows).abs().amax(dim=1)
    first, second = (trial.compare(alone, found, scale=scale) for found in (together, turned))
    return max(first, second, key=lambda finding: finding.excess)
