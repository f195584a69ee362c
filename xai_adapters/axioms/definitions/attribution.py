"""What attributions promise about the function they explain.

Sundararajan et al. 2017 is "Axiomatic Attribution for Deep Networks"; Kindermans et al. 2019 is
"The (Un)reliability of Saliency Methods".
"""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import BIASES, any_case, case_of, network
from xai_adapters.axioms.cases.networks import (
    Network,
    WeightedSum,
    side_by_side,
)
from xai_adapters.axioms.cases.rewriting import rewritings
from xai_adapters.axioms.finding import Finding, worst_row
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial
from xai_adapters.errors import NotApplicableError

_SUNDARARAJAN = "Sundararajan et al. 2017"
_HAT = Network([[[-1]], [[-1]]], [[1], [1]])  # 1 - relu(1 - x), flat beyond 1
_TANH = Network([[[1]], [[1]]], [[0], [0]], "tanh")
_GAIN = "|f(x) - f(x')|"


@define(
    any_case,
    statement="A row's attributions add up to what its output gained from the baseline.",
    formula="sum_i a_i(x) = f(x) - f(x')",
    source=f"{_SUNDARARAJAN}, proposition 1; as efficiency Shapley 1953",
    scale=_GAIN,
    # relu(8 x - 7) has its kink so near to 1 that few of an integral's steps see the slope; hooks
    # on modules do not see a function, and have no rule for every activation.
    classics=(
        Case(Network([[[8]], [[1]]], [[-7], [0]]), [[1]], [0]),
        Case(Network([[[1]], [[1]]], [[-1], [0]], style="functional"), [[2]], [0]),
        Case(Network([[[1]], [[1]]], [[0], [0]], "gelu"), [[1]], [0]),
    ),
)
def completeness(trial: Trial) -> Finding:
    """The sum of attributions against the gain."""
    model = trial.model()
    gain = trial.gain(model)
    return trial.compare(gain, trial.attribute(model).sum(dim=1))


@st.composite
def _one_feature_moved(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    return case.but(feature=draw(st.integers(0, case.network.n_features - 1)))


@define(
    _one_feature_moved,
    statement="If one feature alone differs from the baseline, and the output with it, that "
    "feature gets something.",
    formula="x and x' differ in i alone, f(x) != f(x')  =>  a_i(x) != 0",
    source=f"{_SUNDARARAJAN}, section 2.1: sensitivity (a)",
    scale=_GAIN,
    classics=(Case(_HAT, [[2]], [0], feature=0),),
)
def sensitivity(trial: Trial) -> Finding:
    """What is left of the gain if the attribution is less than a millionth of it."""
    model, feature = trial.model(), trial.details["feature"]
    baseline = trial.baseline_rows()
    if len(baseline) > 1:
        raise NotApplicableError("its baseline is a set of rows, which differ in more features")
    rows = baseline.repeat(len(trial.rows), 1)
    rows[:, feature] = trial.rows[:, feature]
    gain = trial.gain(model, rows)
    got = trial.attribute(model, rows)[:, feature]
    missed = (gain.abs() - 1e6 * got.abs()).clamp(min=0)
    missed = torch.where(got.isnan(), torch.nan, missed)
    return worst_row(
        missed, trial.tolerance(torch.zeros_like(gain)), _described("not 0, for a gain of", gain),
        got,
    )  # fmt: skip


def _described(words: str, values: Tensor) -> list[str]:
    return [f"{words} {value:g}" for value in values.tolist()]


@st.composite
def _with_a_dummy(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain, min_features=2)
    feature = draw(st.integers(0, case.network.n_features - 1))
    weight = [[*row[:feature], 0, *row[feature + 1 :]] for row in case.network.weights[0]]
    changed = case.network.but_first_layer(weight, case.network.biases[0])
    return case.but(network=changed, feature=feature)


@define(
    _with_a_dummy,
    statement="A feature that the model does not read gets nothing.",
    formula="f does not depend on x_i  =>  a_i(x) = 0",
    source=f"{_SUNDARARAJAN}, section 3: sensitivity (b); as dummy Shapley 1953",
)
def dummy(trial: Trial) -> Finding:
    """The attribution of a feature with no weight, beside the row's largest."""
    attributions = trial.attribute(trial.model())
    got = attributions[:, trial.details["feature"]]
    return trial.compare(torch.zeros_like(got), got, scale=attributions.abs().amax(dim=1))


@st.composite
def _two_networks(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    first = case.network
    other = network(
        draw,
        domain,
        n_features=first.n_features,
        n_hidden_layers=len(first.weights) - 1,
        activation=first.activation,
        style=first.style,
        n_outputs=first.n_outputs,
    )
    # Halves and quarters, so that a weighted sum of probabilities is one of probabilities.
    factor = draw(st.sampled_from((0.5, 0.25)))
    return Case(first, case.rows, case.targets, other=other, factor=factor)


@define(
    _two_networks,
    statement="A weighted sum of models gets the weighted sum of their attributions.",
    formula="a(x; c f + (1 - c) g) = c a(x; f) + (1 - c) a(x; g)",
    source=f"{_SUNDARARAJAN}, section 3",
    scale="the row's largest attribution in either model",
)
def linearity(trial: Trial) -> Finding:
    """The attributions of a model that holds two others and adds up their outputs."""
    factor, other = trial.details["factor"], _other(trial)
    models = trial.model(), trial.model(other)
    mixed = WeightedSum(models, (factor, 1 - factor)).eval()
    one, two = (trial.attribute(model) for model in models)
    expected = factor * one + (1 - factor) * two
    scale = torch.maximum(one.abs(), two.abs()).amax(dim=1)
    return trial.compare(expected, trial.attribute(mixed), scale=scale)


@define(
    _two_networks,
    statement="Two models whose outputs are added up get the sum of their attributions, also when "
    "their units stand side by side in the same layers.",
    formula="a(x; f + g) = a(x; f) + a(x; g)",
    source="Shapley 1953",
    scale="the row's largest attribution in either model",
)
def additivity(trial: Trial) -> Finding:
    """The attributions of one network made of two networks' units."""
    if trial.explainer.domain.probabilities:
        raise NotApplicableError("it reads probabilities, whose sums are none")
    first, other = trial.case.network, _other(trial)
    one, two = (trial.attribute(trial.model(each)) for each in (first, other))
    both = trial.attribute(trial.model(side_by_side(first, other)))
    return trial.compare(one + two, both, scale=torch.maximum(one.abs(), two.abs()).amax(dim=1))


@st.composite
def _with_twins(draw: DrawFn, domain: Domain) -> Case:
    """The last two features have equal weights and equal values."""
    case = case_of(draw, domain, min_features=2)
    weight = [[*row[:-1], row[-2]] for row in case.network.weights[0]]
    changed = case.network.but_first_layer(weight, case.network.biases[0])
    rows = [[*row[:-1], row[-2]] for row in case.rows]
    return Case(changed, rows, case.targets)


@define(
    _with_twins,
    statement="Two features that the model treats alike and that have equal values get equal "
    "attributions.",
    formula="f(.., x_i, x_j) = f(.., x_j, x_i), x_i = x_j, x'_i = x'_j  =>  a_i(x) = a_j(x)",
    source=f"{_SUNDARARAJAN}, section 4; Shapley 1953",
)
def symmetry(trial: Trial) -> Finding:
    """The last two features' attributions, which have equal weights and values."""
    background = trial.background.clone()
    background[:, -1] = background[:, -2]
    attributions = trial.attribute(trial.model(), background=background)
    return trial.compare(
        attributions[:, -2], attributions[:, -1], scale=attributions.abs().amax(dim=1)
    )


@st.composite
def _rewritten(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    ways = rewritings(case.network)
    return case.but(other=ways[draw(st.sampled_from(list(ways)))](case.network))


@define(
    _rewritten,
    statement="Two networks that compute the same function get the same attributions.",
    formula="f(z) = g(z) for all z  =>  a(x; f) = a(x; g)",
    source=f"{_SUNDARARAJAN}, section 2.2 and figure 7",
    # An activation called as a function, which hooks on modules do not see; and
    # relu(relu(x1) - 1 - relu(x2)), which is relu(relu(x1 - 1) - relu(x2)).
    classics=(
        Case(_TANH, [[1]], [0], other=replace(_TANH, style="functional")),
        Case(
            Network([[[1, 0], [0, 1]], [[1, -1]], [[1]]], [[0, 0], [-1], [0]]),
            [[3, 1]],
            [0],
            other=Network([[[1, 0], [0, 1]], [[1, -1]], [[1]]], [[-1, 0], [0], [0]]),
        ),
    ),
)
def implementation_invariance(trial: Trial) -> Finding:
    """The attributions of a network that is written differently."""
    one = trial.attribute(trial.model())
    other = trial.attribute(trial.model(_other(trial)))
    return trial.compare(one, other)


@st.composite
def _with_a_factor(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    return case.but(
        feature=draw(st.integers(0, case.network.n_features - 1)),
        factor=draw(st.sampled_from((2.0, 0.5, 4.0))),
    )


_POWERS = {"output": 0, "output/input": -1, "input": 1}


@define(
    _with_a_factor,
    statement="In another unit of a feature, its attribution is the same, or is in that unit.",
    formula="g(.., s x_i, ..) = f(x)  =>  a_i(.., s x_i, ..; g) = s^p a_i(x; f), with p = 0 for "
    "shares of the output, -1 for slopes, 1 for distances",
    source="dimensional analysis; p = 0 is affine scale invariance in Sundararajan et al. 2017",
)
def scaling(trial: Trial) -> Finding:
    """The attributions of a network that reads one feature in another unit."""
    unit, baseline = trial.explainer.unit, trial.explainer.baseline
    if unit is None:
        raise NotApplicableError("it states no unit of its attributions")
    if isinstance(baseline, float) and baseline != 0:
        raise NotApplicableError("its baseline has a unit of its own")
    feature, factor = trial.details["feature"], trial.details["factor"]
    first = trial.case.network
    units = torch.ones(first.n_features, dtype=torch.float64)
    units[feature] = factor
    weight = (torch.tensor(first.weights[0], dtype=torch.float64) / units).tolist()
    scaled = trial.model(first.but_first_layer(weight, first.biases[0]))
    expected = trial.attribute(trial.model()) * units ** _POWERS[unit]
    got = trial.attribute(scaled, trial.rows * units, background=trial.background * units)
    return trial.compare(expected, got)


@st.composite
def _with_a_shift(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    return case.but(shift=draw(st.sampled_from((1, -1, 2, 3))))


@define(
    _with_a_shift,
    statement="A constant added to all outputs changes no attribution.",
    formula="a(x; f + c) = a(x; f)",
    source="follows from linearity, as constants get nothing",
)
def output_shift(trial: Trial) -> Finding:
    """The attributions of a network with another last bias."""
    first = trial.case.network
    bias = [value + trial.details["shift"] for value in first.biases[-1]]
    shifted = trial.model(first.but_last_layer(first.weights[-1], bias))
    return trial.compare(trial.attribute(trial.model()), trial.attribute(shifted))


@st.composite
def _with_a_shift_of_each_feature(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    return case.but(shift=[draw(BIASES) for _ in range(case.network.n_features)])


@define(
    _with_a_shift_of_each_feature,
    statement="Rows that are moved by a constant, in a model that takes it off again, get the same "
    "attributions.",
    formula="g(z + m) = f(z) for all z  =>  a(x + m; g) = a(x; f)",
    source="Kindermans et al. 2019: input invariance",
)
def input_invariance(trial: Trial) -> Finding:
    """The attributions of moved rows, in a network whose first bias takes the move off."""
    first = trial.case.network
    shift = torch.tensor(trial.details["shift"], dtype=torch.float64)
    bias = [
        value - sum(w * m for w, m in zip(row, shift.tolist(), strict=True))
        for value, row in zip(first.biases[0], first.weights[0], strict=True)
    ]
    moved = trial.model(first.but_first_layer(first.weights[0], bias))
    got = trial.attribute(moved, trial.rows + shift, background=trial.background + shift)
    return trial.compare(trial.attribute(trial.model()), got)


@st.composite
def _with_two_outputs(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain, n_outputs=2)
    return Case(case.network, case.rows, case.targets)


@define(
    _with_two_outputs,
    statement="The attributions for an output do not depend on its number.",
    formula="g_k = f_pi(k)  =>  a(x; g, target k) = a(x; f, target pi(k))",
    source="as anonymity Shapley 1953, of outputs in features' place",
)
def target_consistency(trial: Trial) -> Finding:
    """The attributions of a network whose two outputs have changed places."""
    first = trial.case.network
    swapped = first.but_last_layer(first.weights[-1][::-1], first.biases[-1][::-1])
    got = trial.attribute(trial.model(swapped), targets=1 - trial.targets)
    return trial.compare(trial.attribute(trial.model()), got)


def _other(trial: Trial) -> Network:
    assert trial.case.other is not None
    return trial.case.other
