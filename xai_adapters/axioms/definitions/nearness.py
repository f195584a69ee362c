"""What counterfactuals promise about their distance: no needless change, no needless length.

Distances are in standard deviations of the background's columns for an explainer that is made for a
subject, and knows the background; in the rows' own units for one that is made for a model alone.
"""

from __future__ import annotations

import torch
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import classes_to_reach, rows_of_classes
from xai_adapters.axioms.cases.networks import Network
from xai_adapters.axioms.explained import decided_rows, explained, explaining, labels, numbers_of
from xai_adapters.axioms.finding import Finding, rounded, worst_row
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial
from xai_adapters.errors import NotApplicableError

_WACHTER = "Wachter, Mittelstadt and Russell 2018"
_GUIDOTTI = "Guidotti 2022"
_LAUGEL = "Laugel et al. 2018"
# Smaller changes are what a host's single precision leaves of a value.
_ROUNDING = 1e-6


@define(
    rows_of_classes,
    statement="No changed feature can be given its old value back without losing the "
    "counterfactual.",
    formula="c_i(x) != x_i  =>  c(x) with x_i in i's place is none",
    source=f"as minimality {_GUIDOTTI}, for single features; {_LAUGEL}, algorithm 2",
    kind="counterfactual",
    scale="1, as the gap is a share of the changed features",
    atol=0,
    rtol=0,
)
def no_needless_change(trial: Trial) -> Finding:
    """The largest share of a row's changed features that can each be undone alone."""
    found = explained(trial)
    rows = found.rows_with_counterfactual()
    before, after = found.before[rows], found.after[rows]
    changed = (after - before).abs() > _ROUNDING
    # (a, d, d): for each feature the row with that change undone.
    own = torch.eye(before.shape[1], dtype=torch.bool)
    points = torch.where(own, before[:, None], after[:, None])
    flips = found.reaches(points.flatten(0, 1), rows.repeat_interleave(before.shape[1]))
    needless = changed & flips.view_as(changed)
    share = needless.sum(dim=1) / changed.sum(dim=1).clamp(min=1)
    return worst_row(
        share.double(),
        trial.tolerance(torch.ones_like(share, dtype=torch.float64)),
        [f"changes of {rounded(row)} that are all needed" for row in before],
        [
            f"{rounded(row)}, where needless: {numbers_of(which).tolist()}"
            for row, which in zip(after, needless, strict=True)
        ],
    )


# Shares of a step: 64ths, and ever nearer to the whole.
_STEPS = torch.cat((torch.arange(1, 64) / 64, 1 - 0.5 ** torch.arange(7, 17))).double()


@define(
    rows_of_classes,
    statement="No shorter step in the same direction makes a counterfactual.",
    formula="x + t (c(x) - x) is none for t < 1 - claim",
    source=f"{_WACHTER}: the nearest; {_LAUGEL}",
    kind="counterfactual",
    scale="the step's length",
)
def shortest_step(trial: Trial) -> Finding:
    """The share of each row's step that is more than is needed."""
    found = explained(trial)
    rows = found.rows_with_counterfactual()
    before = found.before[rows]
    step = found.after[rows] - before
    points = before[:, None] + _STEPS[:, None] * step[:, None]
    flips = found.reaches(points.flatten(0, 1), rows.repeat_interleave(len(_STEPS)))
    enough = torch.where(flips.view(len(rows), -1), _STEPS, 1.0).amin(dim=1)
    return worst_row(
        1 - enough,
        trial.tolerance(torch.ones_like(enough)),
        [
            f"class {label} up to {rounded(row)}"
            for label, row in zip(
                found.original_class[rows].tolist(), found.after[rows], strict=True
            )
        ],
        [
            f"another class after {share:g} of the step"
            if share < 1
            else "the same class on the way"
            for share in enough.tolist()
        ],
    )


@define(
    classes_to_reach,
    statement="A row that has the wanted class already is left alone: a counterfactual's "
    "counterfactual for the same class is itself.",
    formula="argmax f(x) = k  =>  c(x; k) = x;  c(c(x; k); k) = c(x; k); where no class can be "
    "asked for, leaving a class takes its place",
    source=f"follows from {_WACHTER}: of all points of the class, the row itself is the nearest",
    kind="counterfactual",
    scale="the length of the first step",
)
def idempotence(trial: Trial) -> Finding:
    """What is changed of rows that have the wanted class, from the start or by a counterfactual."""
    model = trial.model()
    rows, target = decided_rows(trial, model)
    explain = explaining(trial, model)
    try:
        first = explain(rows, target)
    except NotApplicableError:
        first = explain(rows)
    every = torch.arange(len(rows))
    there = numbers_of(first.reaches(rows, every))
    done = numbers_of(first.given & first.reaches(first.after, every))
    chosen = torch.cat((there, done))
    if len(chosen) == 0:
        raise NotApplicableError("it finds no counterfactual here")
    expected = torch.cat((rows[there], first.after[done]))
    # Given the class that was to be left, not the one that was reached.
    original_class = None if first.target is not None else first.original_class[chosen]
    again = explain(
        expected, None if first.target is None else first.target[chosen], original_class
    )
    scale = (first.after - rows)[chosen].abs().amax(dim=1)
    return trial.compare(expected, again.after, scale=scale)


def _linear_classes(domain: Domain) -> SearchStrategy[Case]:
    return rows_of_classes(domain, n_hidden_layers=0)


@define(
    _linear_classes,
    statement="On a linear model a counterfactual is as far away as the nearest boundary.",
    formula="|c(x) - x| = min_k |(w_k - w_o) x + b_k - b_o| / |w_k - w_o|",
    source=f"the distance of a point from a plane; {_WACHTER} ask for the nearest",
    kind="counterfactual",
    scale="the distance of the nearest boundary",
)
def linear_length(trial: Trial) -> Finding:
    """The length of each step, against the distance of the nearest plane."""
    found = explained(trial)
    rows = found.rows_with_counterfactual()
    unit = _unit(trial)
    lead, normal = _planes(trial.case.network, found.before[rows], found.original_class[rows])
    nearest = (lead / (normal * unit).norm(dim=2)).amin(dim=1)
    length = ((found.after - found.before)[rows] / unit).norm(dim=1)
    return trial.compare(nearest, length, scale=nearest)


@define(
    _linear_classes,
    statement="On a linear model a counterfactual's change is perpendicular to the boundary that "
    "it crosses.",
    formula="c(x) - x = a (w_k - w_o) with a > 0, for the class k of c(x)",
    source=f"the nearest point of a plane; {_WACHTER} ask for the nearest",
    kind="counterfactual",
    scale="1, as the gap is 1 - cos of the angle",
)
def linear_direction(trial: Trial) -> Finding:
    """1 minus the cosine of the angle between each step and the normal."""
    found = explained(trial)
    rows = found.rows_with_counterfactual()
    unit = _unit(trial)
    _, normal = _planes(trial.case.network, found.before[rows], found.original_class[rows])
    reached = labels(found.model, found.after[rows])
    normal = normal[torch.arange(len(rows)), reached] * unit
    step = (found.after - found.before)[rows] / unit
    cosine = nn.functional.cosine_similarity(step, normal, dim=1, eps=0)
    return worst_row(
        1 - cosine, trial.tolerance(torch.ones_like(cosine)), normal * unit,
        (found.after - found.before)[rows],
    )  # fmt: skip


def _planes(model: Network, rows: Tensor, original_class: Tensor) -> tuple[Tensor, Tensor]:
    """The lead (n, K) of each row's class over each other, and the normals (n, K, d).

    The lead over the own class is infinite, as it is over one with the same weights.
    """
    weights = torch.tensor(model.weights[0], dtype=torch.float64)
    scores = rows @ weights.T + torch.tensor(model.biases[0], dtype=torch.float64)
    lead = scores.gather(1, original_class[:, None]) - scores
    normal = weights - weights[original_class][:, None]
    return lead.masked_fill((normal == 0).all(dim=2), torch.inf), normal


def _unit(trial: Trial) -> Tensor:
    """What one step of each column (d,) is, for the explainer."""
    if trial.explainer.takes == "subject":
        return trial.background.std(dim=0, correction=0)
    return torch.ones(trial.case.network.n_features, dtype=torch.float64)
