"""What Captum offers around an attribution method, used with both of ours."""

from __future__ import annotations

import pytest
import torch
from captum.attr import NoiseTunnel
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max
from captum.robust import AttackComparator, MinParamPerturbation
from torch import nn

from xai_adapters.captum import FIMAP, MaximalInvariantPerturbation

from .explainers import (
    BOTH,
    QUICK,
    assert_alike,
    assert_shaped_like,
    made,
    network,
    normal,
)

MIP = MaximalInvariantPerturbation
both = pytest.mark.parametrize("kind", BOTH)
INPUTS = normal(7, 3, seed=1)


@pytest.fixture(scope="module")
def fitted():
    """Each class, ready for the same network; for tests that leave it as it is."""
    net = network()
    return {kind: made(kind, net, INPUTS) for kind in BOTH}


def network_of_two(x, y):
    return network()(torch.cat((x, y), dim=1))


# NoiseTunnel.


@pytest.mark.parametrize("nt_samples_batch_size", [None, 1, 3])
@pytest.mark.parametrize("target", [None, 2, [0, 1, 2, 0, 1, 2, 0], torch.arange(7) % 3])
@both
def test_noise_tunnel_without_noise_is_the_method_itself(
    kind, target, nt_samples_batch_size, fitted
):
    smoothed = NoiseTunnel(fitted[kind]).attribute(
        INPUTS,
        nt_samples=4,
        stdevs=0.0,
        nt_samples_batch_size=nt_samples_batch_size,
        target=target,
    )
    assert_alike(smoothed, fitted[kind].attribute(INPUTS, target=target))


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@both
def test_noise_tunnel_averages_over_noise(kind, nt_type, fitted):
    smoothed = NoiseTunnel(fitted[kind]).attribute(
        INPUTS, nt_type=nt_type, nt_samples=4, stdevs=0.3, target=2
    )
    assert_shaped_like(smoothed, INPUTS)
    assert not torch.allclose(smoothed, fitted[kind].attribute(INPUTS, target=2))


@both
def test_noise_tunnel_takes_a_tuple_and_noise_for_one_part_of_it(kind):
    parts = (INPUTS[:, :1], INPUTS[:, 1:])
    explainer = made(kind, network_of_two, parts)
    smoothed = NoiseTunnel(explainer).attribute(parts, nt_samples=3, stdevs=(0.2, 0.0), target=2)
    assert_shaped_like(smoothed, parts)


@pytest.mark.parametrize("each", [1, 7])
@both
def test_noise_tunnel_expands_feature_masks(kind, each, fitted):
    mask = torch.tensor([[0, 1, 0]]).repeat(each, 1)
    smoothed = NoiseTunnel(fitted[kind]).attribute(
        INPUTS, nt_samples=3, stdevs=0.0, target=2, feature_mask=mask
    )
    assert_alike(smoothed, fitted[kind].attribute(INPUTS, target=2, feature_mask=mask))


# Metrics.


def shaken(inputs):
    torch.manual_seed(0)
    noise = torch.randn_like(inputs) * 0.1
    return noise, inputs - noise


def shaken_parts(inputs):
    pairs = [shaken(one) for one in inputs]
    return tuple(noise for noise, _ in pairs), tuple(moved for _, moved in pairs)


@both
def test_infidelity_is_finite_and_does_not_depend_on_the_attributions_scale(kind, fitted):
    attributions = fitted[kind].attribute(INPUTS, target=2)
    scores = [
        infidelity(
            network(),
            shaken,
            INPUTS,
            attributions * scale,
            target=2,
            normalize=True,
            max_examples_per_batch=14,
        )
        for scale in (1, 100)
    ]
    assert scores[0].shape == (7,)
    assert scores[0].isfinite().all()
    assert_alike(*scores)


@both
def test_infidelity_of_a_tuple(kind):
    parts = (INPUTS[:, :1], INPUTS[:, 1:])
    attributions = made(kind, network_of_two, parts).attribute(parts, target=2)
    scores = infidelity(network_of_two, shaken_parts, parts, attributions, target=2, normalize=True)
    assert scores.isfinite().all()


@both
def test_sensitivity_is_zero_without_a_radius_and_not_with_one(kind, fitted):
    attribute = fitted[kind].attribute
    still = sensitivity_max(attribute, INPUTS, perturb_radius=0.0, target=2)
    moved = sensitivity_max(attribute, INPUTS, perturb_radius=0.3, target=2)
    assert still.shape == moved.shape == (7,)
    assert_alike(still, torch.zeros(7))
    assert moved.isfinite().all()
    assert moved.max() > 0.05


@pytest.mark.parametrize("as_tuple", [False, True])
@both
def test_sensitivity_hands_over_tensors_and_tuples_by_turns(kind, as_tuple):
    parts = (INPUTS[:, :1], INPUTS[:, 1:]) if as_tuple else (INPUTS,)
    forward = network_of_two if as_tuple else network()
    explainer = made(kind, forward, parts if as_tuple else INPUTS)

    def perturb(inputs, perturb_radius):
        inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        moved = tuple(one + perturb_radius for one in inputs)
        return moved if as_tuple else moved[0]

    still = sensitivity_max(
        explainer.attribute, parts, perturb_func=perturb, perturb_radius=0.0, target=2
    )
    assert_alike(still, torch.zeros(7))


# Robustness.


def accuracy(outputs, labels):
    return (outputs.argmax(dim=1) == labels).double()


def test_attack_comparator_finds_that_fimap_breaks_predictions():
    explainer = FIMAP(network(), **{**QUICK[FIMAP], "epochs": 20}).fit(normal(600, 3))
    inputs = normal(100, 3, seed=2)
    labels = network()(inputs).argmax(dim=1)
    comparator = AttackComparator(network(), accuracy)
    comparator.add_attack(explainer.perturb, name="fimap")
    comparator.add_attack(explainer.perturb, name="to class 2", attack_kwargs={"target": 2})
    results = comparator.evaluate(inputs, labels=labels)
    assert results["Original"].mean() == 1
    assert results["fimap"]["mean"].mean() < 0.2
    # Rows of class 2 are left there, and no other row stays.
    assert abs(results["to class 2"]["mean"].mean() - (labels == 2).double().mean()) < 0.1


def test_min_param_perturbation_finds_how_far_along_fimap_the_class_is_lost():
    explainer = FIMAP(network(), **{**QUICK[FIMAP], "epochs": 20}).fit(normal(600, 3))
    inputs = normal(7, 3, seed=2)
    labels = network()(inputs).argmax(dim=1)

    def along(inputs, share):
        return inputs + share * (explainer.perturb(inputs) - inputs)

    search = MinParamPerturbation(
        network(), along, arg_name="share", arg_min=0.0, arg_max=1.6, arg_step=0.05, mode="linear"
    )
    shares = []
    for row, label in zip(inputs, labels, strict=True):
        crossed, share = search.evaluate(row[None], target=int(label))
        if share is not None:
            shares.append(share)
            assert network()(crossed).argmax(dim=1) != label
    assert len(shares) >= 6
    assert 0 < min(shares) <= max(shares) <= 1.6


# Pictures.


@pytest.mark.parametrize("method", ["heat_map", "blended_heat_map"])
@pytest.mark.parametrize(
    # A map without a positive value cannot be drawn as "positive"; the box's never has another.
    ("kind", "sign"),
    [(FIMAP, "all"), (FIMAP, "absolute_value"), (MIP, "all"), (MIP, "positive")],
)
def test_maps_can_be_drawn(kind, method, sign):
    figure_module = pytest.importorskip("matplotlib.figure")
    net = network(12, 3)
    images = normal(7, 3, 2, 2, seed=1)
    explainer = made(kind, nn.Sequential(nn.Flatten(), net), images)
    predicted = net(images.flatten(1)).argmax(dim=1)
    maps = explainer.attribute(images, target=predicted)
    figure = figure_module.Figure()
    drawn, _ = viz.visualize_image_attr(
        maps[0].permute(1, 2, 0).numpy(),
        images[0].permute(1, 2, 0).numpy(),
        method=method,
        sign=sign,
        plt_fig_axis=(figure, figure.subplots()),
        use_pyplot=False,
        outlier_perc=0,
    )
    assert drawn is figure
    assert figure.axes[0].images
