"""Both attribution classes, quick enough for tests, made the same way from a forward function."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from xai_adapters.captum import FIMAP, MaximalInvariantPerturbation

BOTH = [FIMAP, MaximalInvariantPerturbation]

QUICK = {
    FIMAP: {
        "surrogate_widths": (24,),
        "perturber_widths": (24,),
        "dropout": 0.0,
        "learning_rate": 1e-2,
        "epochs": 4,
        "batch_size": 32,
    },
    MaximalInvariantPerturbation: {
        "n_steps": 25,
        "n_draws": 16,
        "n_check_draws": 2,
        "step_size": 0.1,
    },
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def redraw(model: nn.Module, seed: int = 0) -> nn.Module:
    """Normal weights, for models whose own give every row one class."""
    generator = Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    return model


def network(n_inputs: int = 3, n_outputs: int = 3) -> nn.Sequential:
    return redraw(nn.Sequential(nn.Linear(n_inputs, 5), nn.Tanh(), nn.Linear(5, n_outputs)))


def around(values, times: int = 40):
    """Many rows drawn around a tensor or a tuple of them; anything else is only passed on."""
    if isinstance(values, tuple):
        return tuple(around(value, times) for value in values)
    if not isinstance(values, Tensor):
        return values
    many = values.detach().repeat(times, *(1,) * (values.ndim - 1))
    noise = normal(*many.shape).to(many.dtype)
    return many + noise * values.detach().float().std().to(many.dtype)


def made(kind, forward, inputs, additional_forward_args=None, **settings):
    """A FIMAP fitted on rows around `inputs`, or a box explainer, which needs no fit."""
    explainer = kind(forward, **{**QUICK[kind], **settings})
    if kind is FIMAP:
        explainer.fit(around(inputs), around(additional_forward_args))
    return explainer


def assert_shaped_like(attributions, inputs) -> None:
    """Whatever comes back has the inputs' form, and can be used without care."""
    assert isinstance(attributions, tuple) is isinstance(inputs, tuple)
    if not isinstance(inputs, tuple):
        attributions, inputs = (attributions,), (inputs,)
    assert len(attributions) == len(inputs)
    for attribution, one in zip(attributions, inputs, strict=True):
        assert attribution.shape == one.shape
        assert attribution.dtype == one.dtype
        assert attribution.device == one.device
        assert attribution.is_contiguous()
        assert attribution.isfinite().all()
        assert not attribution.requires_grad
        assert attribution.grad_fn is None


def assert_alike(one, other, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
