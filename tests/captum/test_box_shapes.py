"""Boxes of all shapes through Captum's calling convention."""

from __future__ import annotations

import pytest
import torch

from xai_adapters import InvariantBox
from xai_adapters.captum import MaximalInvariantPerturbation
from xai_adapters.errors import InvalidInputError

from .explainers import QUICK, assert_alike, made, network, normal

MIP = MaximalInvariantPerturbation
INPUTS = normal(7, 3, seed=1)


SHAPES = {
    "bounds": ({"bounds": (-1.0, torch.tensor([1.0, 0.5, 2.0]))}, {}),
    "asymmetric": ({"shape": "asymmetric"}, {}),
    "directed": ({"shape": "directed"}, {"baselines": 0.5}),
    "a baseline for each example": ({"shape": "directed"}, {"baselines": normal(7, 3, seed=5)}),
    "masked": ({"shape": "masked", "bounds": (-1, 1)}, {"baselines": torch.zeros(3)}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_box_of_any_shape_is_that_of_the_core(name):
    settings, arguments = SHAPES[name]
    net = network()
    found = made(MIP, net, INPUTS, **settings).attribute(INPUTS, **arguments)
    box = InvariantBox(**QUICK[MIP], **settings).solve(
        net, INPUTS, baseline=arguments.get("baselines")
    )
    assert_alike(found, box.scores())
    assert (found > 0).any()
    plain = made(MIP, net, INPUTS).attribute(INPUTS)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_each_input_has_bounds_and_a_baseline_of_its_own():
    net = network()
    parts = (INPUTS[:, :1], INPUTS[:, 1:])
    settings = {"shape": "directed"}
    inner = made(
        MIP,
        lambda x, y: net(torch.cat((x, y), dim=1)),
        parts,
        bounds=((torch.tensor(-3.0), torch.tensor(-2.0)), 3.0),
        **settings,
    )
    whole = made(MIP, net, INPUTS, bounds=(torch.tensor([-3.0, -2.0, -2.0]), 3.0), **settings)
    assert_alike(
        torch.cat(inner.attribute(parts, baselines=(1.0, torch.tensor([0.0, -5.0]))), dim=1),
        whole.attribute(INPUTS, baselines=torch.tensor([1.0, 0.0, -5.0])),
    )


def test_an_image_stays_one():
    """The core is to know channels from pixels."""
    images = normal(2, 3, 4, 4, seed=2).sigmoid()

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(48, 3).requires_grad_(False)
            torch.nn.init.constant_(self.last.bias, 0)
            self.last.weight.copy_(normal(3, 48, seed=3))

        def forward(self, x):
            return self.last(x.flatten(1))

    net, limit = Network(), torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = torch.arange(16).view(1, 4, 4).expand(3, 4, 4)
    of = {
        "sampling": "fade_to_colour",
        "bounds": (0.0, torch.ones(3, 1, 1)),
        "max_width": 0.5 + limit / 2,
    }
    found = made(MIP, net, images, **of).attribute(images, feature_mask=pixels)
    box = InvariantBox(**{**QUICK[MIP], **of}).solve(net, images, tied=pixels[None])
    assert_alike(found, box.scores())


def test_a_shape_without_its_baseline_says_so():
    explainer = made(MIP, network(), INPUTS, shape="directed")
    with pytest.raises(InvalidInputError, match="'directed' leads to a baseline; give one"):
        explainer.attribute(INPUTS)
    with pytest.raises(InvalidInputError, match="'symmetric' has no baseline"):
        made(MIP, network(), INPUTS).attribute(INPUTS, baselines=0.0)
    with pytest.raises(InvalidInputError, match=r"baselines of shape .* does not fit \(1, 3\)"):
        explainer.attribute(INPUTS, baselines=torch.zeros(2))
