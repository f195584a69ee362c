"""What Captum and its users demand of an attribution class, asked of both of ours."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
from captum.attr import (
    Attribution,
    GradientAttribution,
    NoiseTunnel,
    PerturbationAttribution,
    Saliency,
)
from captum.testing.attr.helpers.test_config import config
from torch import nn

from xai_adapters import InvariantBox
from xai_adapters.captum import FIMAP, MaximalInvariantPerturbation
from xai_adapters.errors import (
    ConstantPredictorError,
    InvalidInputError,
    NotFittedError,
    PredictorError,
)

from .explainers import (
    BOTH,
    QUICK,
    around,
    assert_alike,
    assert_shaped_like,
    made,
    network,
    normal,
    redraw,
)

MIP = MaximalInvariantPerturbation
both = pytest.mark.parametrize("kind", BOTH)
INPUTS = normal(7, 3, seed=1)


@pytest.fixture(scope="module")
def fitted():
    """Each class, ready for the same network; for tests that leave it as it is."""
    net = network()
    return {kind: made(kind, net, INPUTS) for kind in BOTH}


# Captum's own table of models, inputs, targets and additional arguments.


def attribute_case(explainer, case, inputs):
    """Attribute as a case says, through NoiseTunnel if it says so; others' arguments are left."""
    names = ["target", "additional_forward_args"]
    if case.get("noise_tunnel"):
        names += ["nt_samples", "nt_samples_batch_size", "stdevs"]
        explainer = NoiseTunnel(explainer)
    given = case["attribute_args"]
    return explainer.attribute(inputs, **{name: given[name] for name in names if name in given})


every_case = pytest.mark.parametrize("case", config, ids=[case["name"] for case in config])


@every_case
@both
def test_captums_own_cases(kind, case):
    # Captum's weights give every row one class, which leaves nothing to fit.
    model = redraw(copy.deepcopy(case["model"]), seed=7)
    inputs = case["attribute_args"]["inputs"]
    explainer = made(kind, model, inputs, case["attribute_args"].get("additional_forward_args"))
    assert_shaped_like(attribute_case(explainer, case, inputs), inputs)


@every_case
def test_captums_own_cases_with_captums_weights(case):
    inputs = case["attribute_args"]["inputs"]
    assert_shaped_like(attribute_case(made(MIP, case["model"], inputs), case, inputs), inputs)


def test_fitting_one_of_captums_constant_models_says_that_it_is_constant():
    case = next(case for case in config if case["name"] == "conv_neuron")
    with pytest.raises(ConstantPredictorError, match="for all 160 rows"):
        made(FIMAP, case["model"], case["attribute_args"]["inputs"])


# The class itself.


def test_the_bases_are_captums_own():
    assert issubclass(FIMAP, PerturbationAttribution)
    assert issubclass(MIP, GradientAttribution)


@both
def test_what_captum_asks_the_class(kind, fitted):
    explainer = fitted[kind]
    assert isinstance(explainer, Attribution)
    assert explainer.multiplies_by_inputs is False
    assert explainer.has_convergence_delta() is False
    assert explainer.get_name() == kind.get_name()
    assert kind.get_name() in ("FIMAP", "Maximal Invariant Perturbation")
    with pytest.raises(NotImplementedError, match="attribute_future is not implemented"):
        explainer.attribute_future()


@both
def test_the_undecorated_attribute_still_runs_without_gradients(kind):
    grad_modes = []
    net = network()

    def forward(x):
        grad_modes.append(torch.is_grad_enabled())
        return net(x)

    explainer = made(kind, forward, INPUTS)
    grad_modes.clear()
    with torch.enable_grad():
        attributions = type(explainer).attribute.__wrapped__(explainer, INPUTS, 0)
        assert torch.is_grad_enabled()
    assert_shaped_like(attributions, INPUTS)
    # Gradients are on where the box needs them and nowhere else.
    assert (True in grad_modes) is (kind is MIP)
    assert False in grad_modes
    assert_alike(attributions, explainer.attribute(INPUTS, 0))


def test_attribute_before_fit_names_fit():
    for ask in (FIMAP(network()).attribute, FIMAP(network()).perturb):
        with pytest.raises(NotFittedError, match=r"call fit\(inputs\) first"):
            ask(INPUTS)


def test_fit_returns_the_explainer_itself():
    explainer = FIMAP(network(), **QUICK[FIMAP])
    assert explainer.fit(around(INPUTS)) is explainer


# forward_func.


class Callable:
    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)

    def method(self, x):
        return self.net(x)


def with_scale(net, scale, x):
    return net(x) * scale


FORWARDS = {
    "module": lambda net: net,
    "lambda": lambda net: lambda x: net(x),
    "bound method of a module": lambda net: net.forward,
    "bound method": lambda net: Callable(net).method,
    "callable object": lambda net: Callable(net),
    "partial": lambda net: partial(with_scale, net, 1.0),
    "partial of a module": lambda net: partial(net),
    "script": lambda net: torch.jit.script(net),
    "trace": lambda net: torch.jit.trace(net, INPUTS),
    "data parallel": lambda net: nn.DataParallel(net),
    "variable arguments": lambda net: lambda *inputs: net(*inputs),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", FORWARDS)
@both
def test_forward_func_may_be_any_callable(kind, name, fitted):
    forward = FORWARDS[name](network())
    explainer = made(kind, forward, INPUTS)
    assert explainer.forward_func is forward
    assert_alike(explainer.attribute(INPUTS, target=2), fitted[kind].attribute(INPUTS, target=2))


def test_a_copy_with_another_forward_func_warns_that_its_fit_is_stale(fitted):
    original = fitted[FIMAP]
    copied = copy.copy(original)
    copied.forward_func = network(3, 3)
    with pytest.warns(UserWarning, match="forward_func was exchanged after fit.*call fit again"):
        attributions = copied.attribute(INPUTS, target=0)
    assert_shaped_like(attributions, INPUTS)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="forward_func was exchanged")
        assert_alike(original.attribute(INPUTS, target=0), attributions)
        copied.fit(around(INPUTS)).attribute(INPUTS)
        original.attribute(INPUTS)


def test_a_copy_of_a_box_explainer_uses_the_forward_func_it_was_given(fitted):
    copied = copy.copy(fitted[MIP])
    copied.forward_func = redraw(network(), seed=3)
    wanted = made(MIP, redraw(network(), seed=3), INPUTS).attribute(INPUTS)
    assert torch.equal(copied.attribute(INPUTS), wanted)
    assert not torch.equal(fitted[MIP].attribute(INPUTS), wanted)


@pytest.mark.filterwarnings("ignore:forward_func was exchanged")
def test_a_forward_func_with_another_number_of_outputs_asks_for_a_new_fit(fitted):
    copied = copy.copy(fitted[FIMAP])
    copied.forward_func = network(3, 4)
    with pytest.raises(NotFittedError, match=r"gives 4 outputs; FIMAP was fitted .* 3 classes"):
        copied.attribute(INPUTS)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x[1:], r"given \d+ examples and returned \(\d+, 3\)"),
        (lambda x: x.sum(), r"given \d+ examples and returned \(\)"),
        (lambda x: x.tolist(), r"given \d+ examples and returned list"),
        (lambda x: x / 0 * 0, "returned NaN"),
    ],
)
@both
def test_forward_funcs_that_do_not_answer_are_named(kind, forward, message):
    with pytest.raises(PredictorError, match=message):
        made(kind, forward, INPUTS).attribute(INPUTS)


# Targets.

# Every form of the same targets, one for each of seven rows of three classes.
SAME_TARGET = {
    "int": (2, [2] * 7),
    "negative": (-1, [2] * 7),
    "tuple": ((2,), [2] * 7),
    "0-d tensor": (torch.tensor(2), [2] * 7),
    "one-element tensor": (torch.tensor([2]), [2] * 7),
    "int32 tensor": (torch.tensor([2], dtype=torch.int32), [2] * 7),
    "tensor": (torch.tensor([0, 1, 2, 0, 1, 2, 0]), [0, 1, 2, 0, 1, 2, 0]),
    "list of tuples": ([(0,), (1,), (2,), (0,), (1,), (2,), (0,)], [0, 1, 2, 0, 1, 2, 0]),
}


@pytest.mark.parametrize("form", SAME_TARGET)
@both
def test_a_target_has_many_forms(kind, form, fitted):
    target, each = SAME_TARGET[form]
    wanted = fitted[kind].attribute(INPUTS, each)
    assert torch.equal(fitted[kind].attribute(INPUTS, target), wanted)
    assert torch.equal(fitted[kind].attribute(INPUTS, target=target), wanted)


@both
def test_without_a_target_the_predicted_class_is_explained(kind, fitted):
    predicted = network()(INPUTS).argmax(dim=1)
    assert len(predicted.unique()) > 1
    assert torch.equal(fitted[kind].attribute(INPUTS), fitted[kind].attribute(INPUTS, predicted))


@pytest.mark.parametrize("target", [3, -4, (0, 0), [0, 1], torch.tensor([0, 1, 2]), [5] * 7])
@both
def test_a_target_that_does_not_exist_raises_what_captum_raises(kind, target, fitted):
    with pytest.raises((AssertionError, IndexError, RuntimeError)) as captums:
        Saliency(network()).attribute(INPUTS.clone().requires_grad_(), target=target)
    with pytest.raises(captums.type):
        fitted[kind].attribute(INPUTS, target=target)


def table_of_outputs(x):
    """Two decisions between three classes."""
    return network(3, 6)(x).view(-1, 2, 3)


def test_a_tuple_names_one_class_among_all_outputs_to_fimap():
    flat, table = made(FIMAP, network(3, 6), INPUTS), made(FIMAP, table_of_outputs, INPUTS)
    assert torch.equal(table.attribute(INPUTS, (1, 2)), flat.attribute(INPUTS, 5))
    targets = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 0)]
    assert torch.equal(
        table.attribute(INPUTS, targets), flat.attribute(INPUTS, [0, 1, 2, 3, 4, 5, 0])
    )


@pytest.mark.parametrize("decision", [0, 1])
def test_a_tuple_names_a_decision_and_its_class_to_the_box(decision):
    def one_decision(x):
        return table_of_outputs(x)[:, decision]

    predicted = one_decision(INPUTS).argmax(dim=1).tolist()
    table = made(MIP, table_of_outputs, INPUTS)
    found = table.attribute(INPUTS, [(decision, c) for c in predicted])
    assert_alike(found, made(MIP, one_decision, INPUTS).attribute(INPUTS))
    with pytest.raises(InvalidInputError, match=r"shape \(2, 3\) per example; a target is needed"):
        table.attribute(INPUTS)


@both
def test_a_target_must_select_one_output(kind):
    with pytest.raises(InvalidInputError, match="one is needed, from outputs of shape"):
        made(kind, table_of_outputs, INPUTS).attribute(INPUTS, target=1)


# Inputs and outputs.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@both
def test_attributions_have_the_inputs_precision(kind, dtype, fitted):
    inputs = INPUTS.to(dtype)
    net = network().to(dtype)
    attributions = made(kind, net, inputs).attribute(inputs, target=0)
    assert_shaped_like(attributions, inputs)
    assert attributions.any()


@both
def test_a_tuple_of_inputs_is_one_example_cut_in_parts(kind, fitted):
    net = network()
    parts = (INPUTS[:, :1], INPUTS[:, 1:].reshape(7, 2, 1))

    def forward(x, y):
        return net(torch.cat((x, y.flatten(1)), dim=1))

    # Not drawn around the parts: fitted on the same rows as the whole was.
    explainer = kind(forward, **QUICK[kind])
    if kind is FIMAP:
        many = around(INPUTS)
        explainer.fit((many[:, :1], many[:, 1:].reshape(-1, 2, 1)))
    attributions = explainer.attribute(parts, target=2)
    assert_shaped_like(attributions, parts)
    whole = torch.cat([part.flatten(1) for part in attributions], dim=1)
    assert_alike(whole, fitted[kind].attribute(INPUTS, target=2))


@both
def test_parts_may_have_different_precisions(kind):
    net = network()
    parts = (INPUTS[:, :1].double(), INPUTS[:, 1:])

    def forward(x, y):
        assert (x.dtype, y.dtype) == (torch.float64, torch.float32)
        return net(torch.cat((x.float(), y), dim=1))

    assert_shaped_like(made(kind, forward, parts).attribute(parts, target=2), parts)


@both
def test_a_tensor_and_a_tuple_of_one_are_the_same(kind, fitted):
    tensor_first = fitted[kind]
    (attributions,) = tensor_first.attribute((INPUTS,), target=2)
    assert torch.equal(attributions, tensor_first.attribute(INPUTS, target=2))
    tuple_first = made(kind, network(), (INPUTS,))
    assert torch.equal(tuple_first.attribute(INPUTS, target=2), attributions)


@both
def test_inputs_may_be_batches_of_numbers(kind):
    def forward(x):
        return torch.stack((x, -x), dim=1)

    inputs = INPUTS[:, 0]
    attributions = made(kind, forward, inputs).attribute(inputs, target=0)
    assert_shaped_like(attributions, inputs)
    assert_shaped_like(made(kind, lambda x: x, inputs).attribute(inputs), inputs)


@both
def test_inputs_may_have_gradients_and_any_layout(kind, fitted):
    inputs = INPUTS.T.contiguous().T.requires_grad_()
    assert not inputs.is_contiguous()
    before = inputs.detach().clone()
    attributions = fitted[kind].attribute(inputs, target=2)
    assert_shaped_like(attributions, inputs)
    assert torch.equal(attributions, fitted[kind].attribute(INPUTS, target=2))
    assert torch.equal(inputs, before)
    assert inputs.requires_grad
    assert inputs.grad is None


NAN_IN_ROW_2 = INPUTS.clone()
NAN_IN_ROW_2[2, 1] = torch.nan
BAD_INPUTS = {
    "integers": (torch.ones(2, 3, dtype=torch.int64), r"inputs\[0\] is torch.int64;.*embeddings"),
    "none": (torch.zeros(0, 3), r"inputs\[0\] has shape \(0, 3\); .* at least one example"),
    "no features": (torch.zeros(3, 0), r"inputs\[0\] has shape \(3, 0\)"),
    "NaN": (NAN_IN_ROW_2, "inputs has NaN .* in 1 of 7 rows, first in row 2, column 1"),
    "unequal": ((INPUTS, INPUTS[:5]), r"inputs\[1\] has shape \(5, 3\); .* inputs\[0\].* has 7"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
@both
def test_unusable_inputs_are_named(kind, name, fitted):
    inputs, message = BAD_INPUTS[name]
    with pytest.raises(InvalidInputError, match=message):
        fitted[kind].attribute(inputs)
    if kind is FIMAP:
        with pytest.raises(InvalidInputError, match=message):
            FIMAP(network()).fit(inputs)


@both
def test_a_list_of_inputs_is_refused_as_captum_refuses_it(kind, fitted):
    with pytest.raises(AssertionError):
        fitted[kind].attribute([INPUTS])


def test_inputs_unlike_those_of_fit_are_named(fitted):
    with pytest.raises(InvalidInputError, match=r"shapes \[\(2,\)\]; those of fit had \[\(3,\)\]"):
        fitted[FIMAP].attribute(INPUTS[:, :2])


@pytest.mark.parametrize("target", [None, 1, [0, 1, 2, 0, 1, 2, 0]])
@both
def test_a_batch_of_1_equals_a_row_of_a_batch_of_7(kind, target, fitted):
    every = fitted[kind].attribute(INPUTS, target=target)
    for row in range(7):
        own = target[row] if isinstance(target, list) else target
        alone = fitted[kind].attribute(INPUTS[[row]], target=own)
        assert_alike(alone, every[[row]])


@pytest.mark.parametrize("kind", BOTH)
def test_a_lone_output_is_read_alike_alone_and_in_a_batch(kind):
    # Alone, the first row's output could be a probability below one half.
    inputs = torch.tensor([[0.3, 0.0], [3.0, 0.0], [-3.0, 0.0]])
    explainer = made(kind, lambda x: x[:, 0], inputs)
    if kind is MIP:
        explainer = MIP(lambda x: x[:, 0], output_type="logits", **QUICK[MIP])
    every = explainer.attribute(inputs)
    assert_alike(explainer.attribute(inputs[:1]), every[:1])


# Additional arguments.


def offset_network(x, nothing, offset, factor, flag):
    assert nothing is None
    assert flag == "on"
    return network()((x + offset) * factor)


@both
def test_additional_arguments_may_be_anything(kind, fitted):
    offset = torch.zeros(1, 3)
    arguments = (None, offset, 1.0, "on")
    explainer = kind(offset_network, **QUICK[kind])
    if kind is FIMAP:
        explainer.fit(around(INPUTS), additional_forward_args=arguments)
    found = explainer.attribute(INPUTS, 2, arguments)
    assert torch.equal(found, fitted[kind].attribute(INPUTS, 2))


def told_column(x, column):
    """Class 1 where the column that the row is told of is positive."""
    score = x.gather(1, column[:, None])[:, 0]
    return torch.stack((-score, score), dim=1)


def test_tensors_with_one_entry_a_row_go_with_their_rows_to_the_box():
    column = torch.tensor([0, 1, 2, 0, 2, 1, 0])
    inputs = INPUTS.sign() * 0.3
    explainer = made(MIP, told_column, inputs)
    attributions = explainer.attribute(inputs, additional_forward_args=column)
    # Only the column a row was told of is relevant to it.
    assert torch.equal(attributions > 0, nn.functional.one_hot(column, 3).bool())
    cut = explainer.attribute(inputs, additional_forward_args=(column,), internal_batch_size=4)
    assert_alike(cut, attributions)


def test_tensors_with_one_entry_a_row_go_with_their_rows_to_fimap():
    def signed(x, sign):
        return torch.stack((-x[:, 0] * sign, x[:, 0] * sign), dim=1)

    many = around(INPUTS)
    explainer = FIMAP(signed, **QUICK[FIMAP]).fit(many, torch.ones(len(many)))
    # The same row told twice: its class is 1 and then 0.
    inputs, told = INPUTS[[0, 0]], torch.tensor([1.0, -1.0]) * INPUTS[0, 0].sign()
    attributions = explainer.attribute(inputs, additional_forward_args=told)
    leaving = explainer.explainer.perturb(inputs, original_class=torch.tensor([1, 0])).perturbation
    assert torch.equal(attributions, -leaving)
    assert not torch.allclose(*leaving)
    cut = FIMAP(signed, **QUICK[FIMAP]).fit(many, torch.ones(len(many)), internal_batch_size=50)
    assert torch.equal(cut.attribute(inputs, None, told), attributions)


@both
def test_noise_tunnel_takes_them_along(kind):
    def forward(x, sign):
        return network()(x * sign)

    sign = torch.tensor([[1.0], [-1.0]] * 3 + [[1.0]])
    explainer = made(kind, forward, INPUTS, sign)
    tunnel = NoiseTunnel(explainer).attribute(
        INPUTS, nt_samples=3, stdevs=0.0, target=0, additional_forward_args=sign
    )
    direct = explainer.attribute(INPUTS, target=0, additional_forward_args=sign)
    assert_alike(tunnel, direct)


# Feature masks.


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[0, 1, 0]]),
        torch.tensor([0, 1, 0]),
        torch.tensor([[0, 1, 0]]).repeat(7, 1),
        torch.tensor([[4, 9, 4]], dtype=torch.int32),
    ],
    ids=["one", "without a batch", "each", "other numbers"],
)
@both
def test_features_of_one_number_get_one_attribution(kind, mask, fitted):
    attributions = fitted[kind].attribute(INPUTS, target=2, feature_mask=mask)
    assert torch.equal(attributions[:, 0], attributions[:, 2])
    assert not torch.equal(attributions[:, 0], attributions[:, 1])
    if kind is FIMAP:
        free = fitted[kind].attribute(INPUTS, target=2)
        assert_alike(attributions[:, 0], (free[:, 0] + free[:, 2]) / 2)
        assert torch.equal(attributions[:, 1], free[:, 1])


@both
def test_masks_of_each_row_are_its_own(kind, fitted):
    mask = torch.tensor([[0, 0, 1], [0, 1, 1], [0, 1, 2]] * 2 + [[0, 0, 0]])
    every = fitted[kind].attribute(INPUTS, target=2, feature_mask=mask)
    for row in range(7):
        alone = fitted[kind].attribute(INPUTS[[row]], target=2, feature_mask=mask[[row]])
        assert_alike(alone, every[[row]])


@both
def test_numbers_are_shared_across_a_tuple(kind):
    net = network()
    parts = (INPUTS[:, :1], INPUTS[:, 1:])
    explainer = made(kind, lambda x, y: net(torch.cat((x, y), dim=1)), parts)
    masks = (torch.tensor([[0]]), torch.tensor([[1, 0]]))
    first, second = explainer.attribute(parts, target=2, feature_mask=masks)
    assert torch.equal(first[:, 0], second[:, 1])
    assert not torch.equal(first[:, 0], second[:, 0])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(1, 4, dtype=torch.int64), r"feature_mask of shape \(1, 4\) does not fit"),
        (torch.zeros(3, 3, dtype=torch.int64), r"mask of shape \(3, 3\) does not fit"),
        (torch.zeros(1, 3), "integers from 0"),
        ((torch.zeros(1, 3), torch.zeros(1, 3)), "feature_mask has 2 tensors for 1 inputs"),
    ],
)
@both
def test_masks_that_fit_nothing_are_named(kind, mask, message, fitted):
    with pytest.raises(InvalidInputError, match=message):
        fitted[kind].attribute(INPUTS, feature_mask=mask)


# Memory, streams and traces.


@pytest.mark.parametrize("internal_batch_size", [1, 4, 7, 20, 1000])
def test_the_internal_batch_size_does_not_change_the_result(internal_batch_size, fitted):
    sizes = []
    net = network()

    def forward(x):
        sizes.append(len(x))
        return net(x)

    cut = made(MIP, forward, INPUTS).attribute(
        INPUTS, target=2, internal_batch_size=internal_batch_size
    )
    assert_alike(cut, fitted[MIP].attribute(INPUTS, target=2))
    assert max(sizes) <= internal_batch_size
    sizes.clear()
    fimap = FIMAP(forward, **QUICK[FIMAP])
    fimap.fit(around(INPUTS), internal_batch_size=internal_batch_size)
    assert max(sizes) <= internal_batch_size
    assert_alike(fimap.attribute(INPUTS, target=2), fitted[FIMAP].attribute(INPUTS, target=2))


@both
def test_nothing_is_printed_unless_asked_for(kind, capsys):
    made(kind, network(), INPUTS).attribute(INPUTS)
    assert capsys.readouterr() == ("", "")


@both
def test_progress_goes_to_standard_error(kind, capsys):
    if kind is FIMAP:
        made(kind, network(), INPUTS, show_progress=True)
    else:
        made(kind, network(), INPUTS).attribute(INPUTS, show_progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fitting the perturber" in err if kind is FIMAP else "invariant box" in err


class Fragile(nn.Module):
    """A network with state of every kind, that raises in a given call."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)
        )
        redraw(self)
        self.layers[0].bias.requires_grad_(False)
        self.layers[3].weight.grad = torch.ones(3, 4)
        self.layers[2].eval()
        self.n_seen, self.n_calls, self.breaks_at = 0, 0, None
        self.layers[3].register_forward_hook(self.see)

    def see(self, *_):
        self.n_seen += 1

    def forward(self, x):
        self.n_calls += 1
        torch.rand(1)
        outputs = self.layers(x)
        if self.n_calls == self.breaks_at:
            raise KeyError
        return outputs


def traces_of(net):
    return {
        "modes": [module.training for module in net.modules()],
        "state": [value.clone() for value in net.state_dict().values()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "hooks": [
            (dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks))
            for m in net.modules()
        ],
        "random state": torch.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
    }


WORK = {
    "fit": (FIMAP, lambda explainer, inputs: explainer.fit(around(INPUTS))),
    "perturb": (FIMAP, lambda explainer, inputs: explainer.perturb(inputs)),
    "attribute": (FIMAP, lambda explainer, inputs: explainer.attribute(inputs, 1)),
    "box": (MIP, lambda explainer, inputs: explainer.attribute(inputs)),
    "box of a target": (MIP, lambda explainer, inputs: explainer.attribute(inputs, 1)),
}


@pytest.mark.parametrize("hold", [lambda net: net, lambda net: net.forward, partial])
@pytest.mark.parametrize("breaks_at", [None, 1, 2, 3, 10])
@pytest.mark.parametrize("guard", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("work", WORK)
def test_everything_is_left_as_found(work, guard, breaks_at, hold):
    kind, do = WORK[work]
    net = Fragile()
    explainer = made(kind, hold(net), INPUTS)
    net.n_calls, net.n_seen, net.breaks_at = 0, 0, breaks_at
    inputs = INPUTS.clone().requires_grad_()
    with guard():
        before = traces_of(net)
        raised = False
        try:
            do(explainer, inputs)
        except KeyError:
            raised = True
        after = traces_of(net)
    assert raised is (breaks_at is not None and net.n_calls >= breaks_at)
    assert net.n_seen == net.n_calls > 0
    assert str(after) == str(before)
    assert torch.equal(after["random state"], before["random state"])
    assert all(map(torch.equal, after["state"], before["state"]))
    assert torch.equal(inputs, INPUTS)
    assert inputs.requires_grad
    assert inputs.grad is None


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 4, batch_first=True)
        self.head = nn.Linear(4, 2)
        redraw(self)
        self.cudnn = set()

    def forward(self, x):
        self.cudnn.add(torch.backends.cudnn.enabled)
        return self.head(self.rnn(x)[0][:, -1])


@both
def test_recurrent_networks_work_and_the_cudnn_switch_is_put_back(kind):
    net = Recurrent().eval()
    sequences = normal(7, 5, 1)
    with torch.backends.cudnn.flags(enabled=True):
        attributions = made(kind, net, sequences).attribute(sequences, target=0)
        assert torch.backends.cudnn.enabled
    # Its backward pass refuses eval mode.
    assert net.cudnn == {False}
    assert_shaped_like(attributions, sequences)


# What the numbers mean.

WEIGHTS = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0]])


def linear(x):
    return x @ WEIGHTS.T


@pytest.fixture(scope="module")
def linear_fimap():
    settings = {**QUICK[FIMAP], "epochs": 20}
    return FIMAP(linear, **settings).fit(normal(600, 3))


@pytest.mark.parametrize("target", [0, 1])
def test_fimap_points_towards_the_target_class_from_either_side(linear_fimap, target):
    inputs = normal(200, 3, seed=3)
    towards = WEIGHTS[target] - WEIGHTS[1 - target]
    attributions = linear_fimap.attribute(inputs, target=target)
    predicted = linear(inputs).argmax(dim=1)
    for side in (target, 1 - target):
        cosine = torch.cosine_similarity(attributions[predicted == side], towards[None], dim=1)
        # 0.98 was measured; 0 is as good as a guess.
        assert cosine.mean() > 0.93
        assert (cosine > 0).double().mean() > 0.98


def test_for_the_predicted_class_it_is_the_negative_of_what_leaves_it(linear_fimap):
    inputs = normal(50, 3, seed=3)
    predicted = linear(inputs).argmax(dim=1)
    leaving = linear_fimap.perturb(inputs) - inputs
    reaching = linear_fimap.perturb(inputs, target=1 - predicted) - inputs
    assert_alike(linear_fimap.attribute(inputs), -leaving, 1e-5)
    assert_alike(linear_fimap.attribute(inputs, target=predicted), -leaving, 1e-5)
    assert_alike(linear_fimap.attribute(inputs, target=1 - predicted), reaching, 1e-5)


def test_perturbed_inputs_have_the_class_they_were_to_reach(linear_fimap):
    inputs = normal(200, 3, seed=3)
    predicted = linear(inputs).argmax(dim=1)
    left = linear(linear_fimap.perturb(inputs)).argmax(dim=1)
    assert (left != predicted).double().mean() > 0.9
    reached = linear_fimap.perturb(inputs, target=1)
    assert (linear(reached).argmax(dim=1) == 1).double().mean() > 0.9
    assert torch.equal(reached[predicted == 1], inputs[predicted == 1])
    (as_tuple,) = linear_fimap.perturb((inputs,), target=1)
    assert torch.equal(as_tuple, reached)


@pytest.mark.parametrize("shape", [lambda s: s, lambda s: s[:, None]], ids=["(n,)", "(n, 1)"])
@pytest.mark.parametrize("threshold", [None, 1.0])
def test_one_output_is_explained_upwards(shape, threshold):
    weights = torch.tensor([1.0, -2.0, 0.5])
    explainer = FIMAP(
        lambda x: shape(x @ weights), threshold=threshold, **{**QUICK[FIMAP], "epochs": 20}
    ).fit(normal(600, 3))
    inputs = normal(200, 3, seed=3)
    for target in (None, 0):
        if target == 0 and shape(inputs[:, 0]).ndim == 1:
            continue
        attributions = explainer.attribute(inputs, target=target)
        assert torch.cosine_similarity(attributions, weights[None], dim=1).mean() > 0.9
    crossed = explainer.perturb(inputs) @ weights > (threshold or 0)
    assert (crossed != (inputs @ weights > (threshold or 0))).double().mean() > 0.9


@pytest.mark.parametrize("shape", [(7, 3), (7, 1, 3), (7, 3, 1, 1)])
def test_the_boxs_attribution_is_the_largest_width_minus_the_features_own(shape):
    net = network()
    inputs = INPUTS.view(shape)
    bound = torch.tensor([1.0, 0.2, 0.5]).view(shape[1:])
    explainer = made(MIP, lambda x: net(x.flatten(1)), inputs, max_width=bound)
    box = InvariantBox(**QUICK[MIP], max_width=bound.flatten()).solve(net, INPUTS)
    wanted = box.width.amax(dim=1, keepdim=True) - box.width
    assert_alike(explainer.attribute(inputs), wanted.view(shape))
    assert (wanted > 0).any()


def test_every_input_may_have_its_own_bound():
    net = network()
    parts = (INPUTS[:, :1], INPUTS[:, 1:])
    explainer = made(
        MIP,
        lambda x, y: net(torch.cat((x, y), dim=1)),
        parts,
        max_width=(torch.tensor(0.3), torch.tensor([0.1, 0.4])),
    )
    whole = made(MIP, net, INPUTS, max_width=torch.tensor([0.3, 0.1, 0.4]))
    assert_alike(torch.cat(explainer.attribute(parts), dim=1), whole.attribute(INPUTS))
    with pytest.raises(InvalidInputError, match="max_width has 1 tensors for 2 inputs"):
        made(MIP, net, parts, max_width=torch.ones(3)).attribute(parts)


def test_for_a_target_that_is_not_the_prediction_the_box_is_empty(fitted):
    predicted = network()(INPUTS).argmax(dim=1)
    for target in range(3):
        attributions = fitted[MIP].attribute(INPUTS, target=target)
        assert not attributions[predicted != target].any()
        assert attributions[predicted == target].any(dim=1).all()


@both
def test_bad_settings_are_named_when_the_explainer_is_made(kind):
    with pytest.raises(InvalidInputError, match="penalty must be at least 0, is -1"):
        kind(network(), penalty=-1)
    with pytest.raises(TypeError, match="no_such_setting"):
        kind(network(), no_such_setting=1)


def test_checked_counterfactuals_are_what_forward_func_says(linear_fimap):
    inputs = normal(50, 3, seed=3)
    forward = linear_fimap.forward_func
    before = forward(inputs).argmax(dim=1)
    fitted, checked = (
        linear_fimap.perturb(inputs, line_search=line_search) for line_search in (False, True)
    )
    assert (forward(checked).argmax(dim=1) != before).all()
    assert (checked - inputs).norm(dim=1).mean() < (fitted - inputs).norm(dim=1).mean()
    reached = linear_fimap.perturb(
        (inputs,), target=1, line_search=True, sparsify=True, local_search=8
    )
    assert (forward(reached[0]).argmax(dim=1) == 1).all()


def test_fit_asks_about_perturbed_inputs_unless_an_argument_belongs_to_each_example():
    inputs = normal(80, 2)
    asked = []

    def forward(inputs, shift=None):
        asked.append(len(inputs))
        score = inputs[:, 0] if shift is None else inputs[:, 0] + shift
        return torch.stack((score, -score), dim=1)

    explainer = FIMAP(forward, **QUICK[FIMAP])
    for arguments, n_asked in ((None, 160), (0.1, 160), (torch.zeros(80), 80)):
        asked.clear()
        explainer.fit(inputs, arguments)
        assert sum(asked) == n_asked
    with pytest.raises(InvalidInputError, match="one entry for each of these"):
        explainer.perturb(inputs, additional_forward_args=torch.zeros(80), line_search=True)


def test_certainty_is_that_of_the_examples(linear_fimap):
    inputs = normal(40, 3, seed=3)
    certainty = linear_fimap.certainty(inputs)
    assert certainty.length.shape == certainty.rank.shape == (40,)
    original_class = linear_fimap.forward_func(inputs).argmax(dim=1)
    direct = linear_fimap.explainer.certainty(inputs, original_class=original_class)
    assert_alike(certainty.length, direct.length)
    assert_alike(certainty.rank, direct.rank)
