"""What boxes promise: that the class stays inside, and that they grow as they should.

A row x of class o has a box of half widths w(x), at most the bound C. The explainer may be called
in any of the ways of `xai_adapters.axioms.answers.boxes`. Rows on a boundary are left out: they
have no class of their own.

No search proves a box invariant. Draws bound the share that violates, and an attack tries to find a
violation; both are compared with the share that the explainer itself claims, because a box that was
optimised for few violations among uniform draws does not promise that there are none.
"""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Generator, Tensor, nn

from xai_adapters.axioms.answers.boxes import Box, Boxes, boxing
from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import rows_of_classes, several_rows
from xai_adapters.axioms.explained import DECIDED, decided_rows, labels
from xai_adapters.axioms.finding import Finding, rounded, worst_row
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial
from xai_adapters.guarantees.sampling_bound import violating_mass

_IKENO = "Ikeno and Hara 2018"
_N_DRAWS = 4096
# Of a false alarm about one box, and of what the draws may miss.
_DELTA = 1e-9
_MAX_CORNERS, _STARTS = 256, 64
_ATTACK_STEPS, _SHRINK = 40, 0.85
_BOUNDS = st.sampled_from((1.0, 0.5, 2.0))


@st.composite
def _with_a_bound(draw: DrawFn, domain: Domain) -> Case:
    return draw(rows_of_classes(domain)).but(bound=draw(_BOUNDS))


class _Boxed:
    """Rows of decided classes, and how their boxes are asked for.

    Raises:
        NotApplicableError: if there are no such rows.
    """

    def __init__(self, trial: Trial, at_least: int = 1) -> None:
        self.trial, self.network = trial, trial.case.network
        self.model = trial.model()
        # As logits, which a softmax' rounding does not hide.
        self.logits = self.network.build()
        self.rows, _ = decided_rows(trial, self.logits, at_least)
        self.original_class = labels(self.logits, self.rows)

    def boxes(self) -> Boxes:
        """How boxes of the case's model are asked for."""
        return boxing(self.trial.made(self.model), self.model)

    def lead(self, points: Tensor) -> Tensor:
        """By how much (n, m) the rows' classes lead at points (n, m, d)."""
        outputs = self.logits(points.flatten(0, 1)).view(*points.shape[:2], -1)
        own = nn.functional.one_hot(self.original_class, outputs.shape[2]).bool()[:, None]
        best, rest = (outputs.masked_fill(other, -torch.inf) for other in (~own, own))
        lead: Tensor = best.amax(dim=2) - rest.amax(dim=2)
        return lead

    @torch.no_grad()
    def is_violating(self, points: Tensor) -> Tensor:
        """Whether (n, m) another class is ahead at points (n, m, d); a draw is none."""
        return self.lead(points) < -DECIDED


@define(
    rows_of_classes,
    statement="At most the claimed share of the points of a box has another class, besides the "
    "share that the answer itself admits.",
    formula="P(f_o(x + t w) < f_j(x + t w) for some j) <= claim, for t uniform in [-1, 1]^d; of n "
    "draws v violate, and the gap is the smallest p that makes v or more of them as likely as 1e-9",
    source=f"{_IKENO}, equation 3.1; Chernoff's bound, which is ln(1 / delta) / n for no violation",
    kind="box",
    scale="1, as the gap is a share of the box",
    atol=0,
    rtol=0,
)
def sampled_invariance(trial: Trial) -> Finding:
    """The least violating share of each box that 4,096 uniform draws leave credible."""
    boxed = _Boxed(trial)
    box = boxed.boxes()(boxed.rows, boxed.original_class)
    generator = Generator().manual_seed(0)
    share = torch.rand((_N_DRAWS, boxed.rows.shape[1]), generator=generator, dtype=torch.float64)
    seen = boxed.is_violating(box.points(share)).sum(dim=1).tolist()
    least = torch.tensor([least_share(n, _N_DRAWS, _DELTA) for n in seen], dtype=torch.float64)
    allowed = trial.tolerance(torch.ones_like(least)) + box.violating_mass
    unseen = violating_mass(_N_DRAWS, 1, 1 - _DELTA)
    return worst_row(
        least,
        allowed,
        [f"at most {allowed[0]:g} violating around {rounded(row)}" for row in boxed.rows],
        [
            f"{n} of {_N_DRAWS} draws violating with half widths {rounded(width)}"
            + ("" if n else f": less than {unseen:.2g} of it")
            for n, width in zip(seen, box.width, strict=True)
        ],
    )


def least_share(n_seen: int, n_draws: int, delta: float) -> float:
    """The smallest p for which so many of n draws, each with probability p, are not too many.

    By Chernoff's bound P(at least v of n) <= exp(-n KL(v / n || p)) for p < v / n; the p returned
    makes that delta, so a box whose true share is smaller shows v with less than that probability.

    Args:
        n_seen: v.
        n_draws: n.
        delta: the probability of a false alarm.

    Example:
        >>> least_share(0, 1000, 0.01)
        0.0
        >>> round(least_share(100, 1000, 0.01), 3)  # a tenth was seen
        0.074
    """
    seen = n_seen / n_draws
    low, high = 0.0, seen
    for _ in range(200 if n_seen else 0):
        p = (low + high) / 2
        too_many = n_draws * _divergence(seen, p) > math.log(1 / delta)
        low, high = (p, high) if too_many else (low, p)
    return high


def _divergence(a: float, b: float) -> float:
    """Kullback-Leibler divergence of one coin from another, in nats."""
    rest = (1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0
    return a * math.log(a / b) + rest if b > 0 else math.inf


@define(
    rows_of_classes,
    statement="An attack finds a point of another class in at most the claimed share of boxes.",
    formula="f_o(x + t w) >= f_j(x + t w) for all |t_i| <= 1 and j != o, as far as corners, draws "
    "and projected gradients see",
    source=f"{_IKENO}, Problem 2.1; Madry et al. 2018: projected gradient descent",
    kind="box",
    scale="1, as the gap is a share of the rows",
    atol=0,
    rtol=0,
)
def attack_inside(trial: Trial) -> Finding:
    """The share of the boxes in which an attack finds another class."""
    boxed = _Boxed(trial)
    box = boxed.boxes()(boxed.rows, boxed.original_class)
    points = _attacked(boxed, box)
    is_violating = boxed.is_violating(points)
    violated = is_violating.any(dim=1)
    row = int(violated.int().argmax())
    point = points[row, int(is_violating[row].int().argmax())]
    violation = f"class {int(labels(boxed.logits, point[None]))} at {rounded(point)}"
    return Finding(
        float(violated.double().mean()),
        trial.tolerance(1.0),
        f"class {int(boxed.original_class[row])} within {rounded(box.width[row])} of "
        f"{rounded(boxed.rows[row])}",
        violation if violated.any() else "no other class found",
    )


def _attacked(boxed: _Boxed, box: Box) -> Tensor:
    """Points (n, m, d) of boxes, as near to another class as an attack comes."""
    d = boxed.rows.shape[1]
    generator = Generator().manual_seed(0)
    if 2**d <= _MAX_CORNERS:
        corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=d)), dtype=torch.float64)
    else:
        corners = torch.randint(0, 2, (_MAX_CORNERS, d), generator=generator).double()
    draws = torch.rand((_STARTS, d), generator=generator, dtype=torch.float64)
    starts = box.points(torch.cat((corners, draws)))
    lower, upper = box.lower[:, None], box.upper[:, None]
    points, step = starts, (upper - lower) / 4
    for _ in range(_ATTACK_STEPS):
        with torch.enable_grad():
            moving = points.detach().requires_grad_()
            lead = boxed.lead(moving).sum()
            (slope,) = torch.autograd.grad(lead, moving)
        points = (points - step * slope.sign()).clamp(lower, upper)
        step = _SHRINK * step
    return torch.cat((starts, points), dim=1).detach()


@define(
    _with_a_bound,
    statement="No width is beyond the bound.",
    formula="0 <= w_i <= C",
    source=f"{_IKENO}, Problem 2.1",
    kind="box",
    scale="the bound",
)
def width_within_bound(trial: Trial) -> Finding:
    """How far the widest feature of each row is beyond the bound."""
    boxed = _Boxed(trial)
    bound = torch.full((boxed.rows.shape[1],), trial.details["bound"], dtype=torch.float64)
    width = boxed.boxes()(boxed.rows, boxed.original_class, bound).width
    return trial.compare(width.minimum(bound), width, scale=bound.expand_as(width).amax(dim=1))


@define(
    _with_a_bound,
    statement="A larger bound never makes a box narrower on the mean of its features. (Single "
    "features may become narrower, where others that cost less take the room.)",
    formula="C <= C'  =>  mean_i w_i(C) <= mean_i w_i(C')",
    source=f"{_IKENO}, Problem 2.1: the maximum over a larger set",
    kind="box",
    scale="the larger bound",
)
def monotone_in_bound(trial: Trial) -> Finding:
    """By how much the mean width falls when the bound doubles."""
    boxed = _Boxed(trial)
    bound = torch.full((boxed.rows.shape[1],), trial.details["bound"], dtype=torch.float64)
    boxes = boxed.boxes()
    small, large = (
        boxes(boxed.rows, boxed.original_class, c).width.mean(dim=1) for c in (bound, 2 * bound)
    )
    scale = torch.full_like(small, float(2 * bound[0]))
    return trial.compare(small, torch.minimum(small, large), scale=scale)


@st.composite
def _with_an_irrelevant_feature(draw: DrawFn, domain: Domain) -> Case:
    case = draw(rows_of_classes(domain, min_features=2))
    feature = draw(st.integers(0, case.network.n_features - 1))
    weight = [[*row[:feature], 0, *row[feature + 1 :]] for row in case.network.weights[0]]
    changed = case.network.but_first_layer(weight, case.network.biases[0])
    return case.but(network=changed, feature=feature, bound=draw(_BOUNDS))


@define(
    _with_an_irrelevant_feature,
    statement="A feature that the model does not read is as wide as the bound.",
    formula="f does not depend on x_i  =>  w_i = C",
    source=f"{_IKENO}: wide means irrelevant; the dummy axiom of boxes",
    kind="box",
    scale="the bound",
)
def irrelevant_width(trial: Trial) -> Finding:
    """The width of a feature without a weight, against the bound."""
    boxed = _Boxed(trial)
    bound = torch.full((boxed.rows.shape[1],), trial.details["bound"], dtype=torch.float64)
    width = boxed.boxes()(boxed.rows, boxed.original_class, bound).width[
        :, trial.details["feature"]
    ]
    expected = torch.full_like(width, trial.details["bound"])
    return trial.compare(expected, width)


@st.composite
def _in_another_unit(draw: DrawFn, domain: Domain) -> Case:
    case = draw(rows_of_classes(domain))
    return case.but(
        feature=draw(st.integers(0, case.network.n_features - 1)),
        factor=draw(st.sampled_from((2.0, 0.5, 4.0))),
        bound=draw(_BOUNDS),
    )


@define(
    _in_another_unit,
    statement="In another unit of a feature, its bound included, its width is in that unit, and "
    "the others stay.",
    formula="g(.., s x_i, ..) = f(x), C_i' = s C_i  =>  w_i(.., s x_i, ..; g) = s w_i(x; f)",
    source="dimensional analysis",
    kind="box",
    scale="the feature's bound",
)
def box_scaling(trial: Trial) -> Finding:
    """The widths of a network that reads one feature in another unit, brought back."""
    boxed = _Boxed(trial)
    first, d = boxed.network, boxed.rows.shape[1]
    units = torch.ones(d, dtype=torch.float64)
    units[trial.details["feature"]] = trial.details["factor"]
    weight = (torch.tensor(first.weights[0], dtype=torch.float64) / units).tolist()
    scaled = trial.model(first.but_first_layer(weight, first.biases[0]))
    bound = torch.full((d,), trial.details["bound"], dtype=torch.float64)
    made = trial.made(scaled, trial.background * units)
    got = boxing(made, scaled)(boxed.rows * units, boxed.original_class, bound * units)
    expected = boxed.boxes()(boxed.rows, boxed.original_class, bound).width
    return trial.compare(expected, got.width / units, scale=bound.expand_as(expected)[:, 0])


@st.composite
def _in_another_order(draw: DrawFn, domain: Domain) -> Case:
    case = draw(rows_of_classes(domain, min_features=2))
    order = draw(st.permutations(range(case.network.n_features)))
    return case.but(order=list(order))


@define(
    _in_another_order,
    statement="Features in another order have the same widths.",
    formula="g(x_pi) = f(x)  =>  w(x_pi; g) = w(x; f)_pi",
    source=f"{_IKENO}, Problem 2.1 names no feature; the symmetry of boxes",
    kind="box",
    scale="the row's largest width",
)
def box_permutation(trial: Trial) -> Finding:
    """The widths of a network whose features stand in another order."""
    boxed = _Boxed(trial)
    first, order = boxed.network, trial.details["order"]
    weight = [[row[i] for i in order] for row in first.weights[0]]
    turned = trial.model(first.but_first_layer(weight, first.biases[0]))
    made = trial.made(turned, trial.background[:, order])
    got = boxing(made, turned)(boxed.rows[:, order], boxed.original_class)
    expected = boxed.boxes()(boxed.rows, boxed.original_class).width[:, order]
    return trial.compare(expected, got.width)


@define(
    several_rows,
    statement="A row gets the same box alone, in a batch, and in another order.",
    formula="w(X)_r = w(X_r)",
    source="as Captum and scikit-learn do",
    kind="box",
    scale="the row's largest width",
)
def box_batch_independence(trial: Trial) -> Finding:
    """Rows one by one against the batch, and against the batch the other way round."""
    boxed = _Boxed(trial, at_least=2)
    boxes, rows, original_class = boxed.boxes(), boxed.rows, boxed.original_class
    alone = torch.cat(
        [
            boxes(row, label).width
            for row, label in zip(rows.split(1), original_class.split(1), strict=True)
        ]
    )
    together = boxes(rows, original_class).width
    turned = boxes(rows.flip(0), original_class.flip(0)).width.flip(0)
    first, second = trial.compare(alone, together), trial.compare(alone, turned)
    return max(first, second, key=lambda finding: finding.excess)
