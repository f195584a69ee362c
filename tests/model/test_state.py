from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from xai_adapters.model.state import left_as_found


def partly_frozen_net() -> nn.Sequential:
    net = nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(4))
    )
    net[1].eval()
    net[2][0].eval()
    return net


WAYS_TO_HOLD = {
    "module": lambda net: net,
    "bound method": lambda net: net.forward,
    "partial": lambda net: partial(net),
    "partial of a partial of a bound method": lambda net: partial(partial(net.forward)),
}


@pytest.mark.parametrize("hold", WAYS_TO_HOLD.values(), ids=WAYS_TO_HOLD.keys())
@pytest.mark.parametrize("breaks", [False, True], ids=["returns", "raises"])
def test_modes_and_buffers_are_left_as_found(hold, breaks):
    net = partly_frozen_net()
    modes = [module.training for module in net.modules()]
    assert len(set(modes)) == 2
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    try:
        with left_as_found(hold(net)):
            assert not any(module.training for module in net.modules())
            net(torch.arange(12.0).view(4, 3))
            if breaks:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in net.named_buffers())


@pytest.mark.parametrize("breaks", [False, True], ids=["returns", "raises"])
def test_the_global_random_state_is_left_as_found(breaks):
    before = torch.get_rng_state()
    try:
        with left_as_found(lambda x: x, torch.device("cpu")):
            torch.rand(3)
            if breaks:
                raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_train_is_never_called():
    class Strict(nn.Module):
        def train(self, mode=True):
            raise AssertionError("train() may have further duties")

    net = Strict()
    with left_as_found(net):
        assert not net.training
    assert net.training


def test_cudnn_is_off_for_recurrent_networks_only():
    for net, wanted in ((nn.Sequential(nn.GRU(2, 2)), False), (nn.Linear(2, 2), True)):
        with torch.backends.cudnn.flags(enabled=True):
            with left_as_found(net):
                assert torch.backends.cudnn.enabled is wanted
            assert torch.backends.cudnn.enabled
