"""Captum's attributions, with Captum's defaults where nothing else is said."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from xai_adapters.errors import require
from xai_adapters.explainers.patches import patches
from xai_adapters.registry.claims import (
    AT_KINKS,
    FUNCTIONAL,
    SAMPLED,
    SAMPLES,
    SHAPLEY,
    SLOPE,
    SLOPES_JUMP,
    Claims,
)
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject

# Rows a model sees at once where Captum lets us choose.
_BATCH = 64
_STEPS = {"n_steps": 50, "internal_batch_size": _BATCH}
_MAX_PATCHES = 200  # what sampling methods can tell apart with some hundreds of samples

_CHAIN_RULE = "its chain rule is not that of derivatives"
_FIXED_BASELINE = "its baseline does not move with the rows"
_GRADIENT: Claims = {
    **FUNCTIONAL,
    "completeness": SLOPE,
    "sensitivity": "a slope is 0 where the output is flat, as 1 - relu(1 - x) is at 2",
    "implementation_invariance": AT_KINKS,
    "input_invariance": 0,
    "stability": SLOPES_JUMP,
}
_PATH: Claims = {
    **FUNCTIONAL,
    "completeness": 0.05,
    "sensitivity": 0,
    "input_invariance": _FIXED_BASELINE,
    "stability": "a path along a kink has neighbours on both sides of it",
}
_DEEP_LIFT: Claims = {
    **_PATH,
    "completeness": 0,
    "implementation_invariance": _CHAIN_RULE,
    "stability": "its multipliers jump where an activation equals the baseline's",
}
_OCCLUSION: Claims = {
    **FUNCTIONAL,
    "completeness": "effects of removing features one by one add up in additive models only",
    "sensitivity": 0,
    "input_invariance": _FIXED_BASELINE,
    "stability": 2,
}

_captum = partial(registered, host="captum.attr")
_slopes = partial(_captum, rank_by="magnitude", unit="output/input")
_from_black = partial(_captum, baseline="black", unit="output")
_from_mask = partial(_captum, baseline="mask", unit="output")


@_slopes(claims=_GRADIENT)
def saliency(subject: Subject) -> Explainer:
    """Gradient.

    With its sign, which Captum drops by default.
    """
    return _attributing(_captum_class("Saliency")(subject.network()), abs=False)


@_from_black(claims={**_GRADIENT, "input_invariance": _FIXED_BASELINE})
def input_x_gradient(subject: Subject) -> Explainer:
    """Input times gradient."""
    return _attributing(_captum_class("InputXGradient")(subject.network()))


@_from_black(block_size=10, claims=_PATH)
def integrated_gradients(subject: Subject) -> Explainer:
    """Integrated gradients, 50 steps from black."""
    method = _captum_class("IntegratedGradients")(subject.network())
    return _attributing(method, **_STEPS)


@_from_mask(block_size=10, claims=_PATH)
def integrated_gradients_mask(subject: Subject) -> Explainer:
    """Integrated gradients, 50 steps from the mask's value."""
    method = _captum_class("IntegratedGradients")(subject.network())
    return _attributing(method, baselines=subject.mask_value(), **_STEPS)


@_slopes(
    claims={
        **_GRADIENT,
        **dict.fromkeys(("linearity", "additivity"), "it drops negative slopes on the way"),
        "implementation_invariance": _CHAIN_RULE,
    }
)
def guided_backprop(subject: Subject) -> Explainer:
    """Guided backpropagation."""
    return _attributing(_captum_class("GuidedBackprop")(subject.network()))


@_from_black(claims=_DEEP_LIFT)
def deep_lift(subject: Subject) -> Explainer:
    """DeepLIFT from black."""
    return _attributing(_captum_class("DeepLift")(subject.network()))


@_from_mask(claims=_DEEP_LIFT)
def deep_lift_mask(subject: Subject) -> Explainer:
    """DeepLIFT from the mask's value."""
    method = _captum_class("DeepLift")(subject.network())
    return _attributing(method, baselines=subject.mask_value())


@_from_black(
    claims={
        **_DEEP_LIFT,
        "completeness": "biases keep the shares that are theirs",
        "sensitivity": "where an activation is 0 nothing is passed on",
        **dict.fromkeys(("linearity", "additivity"), "shares depend on activations' magnitudes"),
        "output_shift": "it starts from the output, of which a constant is part",
    },
    domain={"activations": ("relu", "tanh")},  # Captum has rules for these.
)
def lrp(subject: Subject) -> Explainer:
    """Layer-wise relevance propagation, epsilon rule."""
    return _attributing(_captum_class("LRP")(subject.network()))


@_from_black(block_size=10, claims=_OCCLUSION)
def occlusion(subject: Subject) -> Explainer:
    """Occlusion with a black window."""
    return _occlusion(subject, 0.0)


@_from_mask(block_size=10, claims=_OCCLUSION)
def occlusion_mask(subject: Subject) -> Explainer:
    """Occlusion with a window of the mask's value."""
    return _occlusion(subject, subject.mask_value())


@_slopes(block_size=1, claims={**_GRADIENT, **SAMPLES, "input_invariance": SAMPLED})
def smooth_grad(subject: Subject) -> Explainer:
    """SmoothGrad, 50 noisy copies.

    The noise is 15 % of the range, as in Smilkov et al. 2017.
    """
    attr = require("captum.attr", "captum")
    return _attributing(
        attr.NoiseTunnel(attr.Saliency(subject.network())),
        nt_type="smoothgrad",
        nt_samples=50,
        nt_samples_batch_size=5,
        stdevs=0.15 * float(subject.background.max() - subject.background.min()),
        abs=False,
    )


@_captum(
    baseline="data",
    unit="output",
    block_size=1,
    claims={
        **SHAPLEY,
        **SAMPLES,
        "dummy": 0,
        "completeness": SAMPLED,
        "input_invariance": SAMPLED,
    },
)
def gradient_shap(subject: Subject) -> Explainer:
    """Expected gradients from 20 background rows."""
    method = _captum_class("GradientShap")(subject.network())
    return _attributing(method, baselines=subject.background[:20], n_samples=20)


@_from_black(
    block_size=1,
    claims={**_OCCLUSION, **SAMPLES, "completeness": 0.01, "dummy": 0.01},
    domain={"min_features": 2},  # There is nothing to sample for coalitions of one feature.
)
def kernel_shap(subject: Subject) -> Explainer:
    """Captum's KernelSHAP, 500 samples."""
    return _sampling("KernelShap", subject, n_samples=500)


@_from_black(
    block_size=1,
    claims={
        **_OCCLUSION,
        **SAMPLES,
        "completeness": "a penalized fit near a row does not reach the baseline",
        "sensitivity": "its penalty sets small weights to 0",
        "dummy": 0.05,
    },
)
def lime(subject: Subject) -> Explainer:
    """Captum's LIME, 500 samples."""
    return _sampling("Lime", subject, n_samples=500)


@_from_black(block_size=1, claims={**_OCCLUSION, **SAMPLES, "completeness": 1e-4})
def shapley_value_sampling(subject: Subject) -> Explainer:
    """Shapley values from 10 permutations."""
    return _sampling("ShapleyValueSampling", subject, n_samples=10)


def _captum_class(name: str) -> Any:
    return getattr(require("captum.attr", "captum"), name)


def _attributing(method: Any, **options: Any) -> Explainer:
    """An explainer of a Captum method and the options of its `attribute`."""
    return FunctionExplainer(
        lambda rows, target: method.attribute(rows, target=target, **options).detach(),
        {name: value for name, value in options.items() if not isinstance(value, Tensor)},
    )


def _sampling(name: str, subject: Subject, n_samples: int) -> Explainer:
    """A method that samples pixels, patches of them or columns."""
    mask = None
    if subject.kind == "image":
        mask = patches(subject.background[0], _MAX_PATCHES)[None]
    return _attributing(
        _captum_class(name)(subject.forward),
        n_samples=n_samples,
        perturbations_per_eval=_BATCH,
        feature_mask=mask,
    )


def _occlusion(subject: Subject, baseline: float) -> Explainer:
    window: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    if subject.kind == "image":
        channels, height, _ = subject.background.shape[1:]
        # The paper's 12 pixels of 224; small images are scanned pixel by pixel.
        side = max(2, round(height * 12 / 224))
        step = side if height > 64 else 1
        window, stride = (channels, side, side), (channels, step, step)
    return _attributing(
        _captum_class("Occlusion")(subject.forward),
        sliding_window_shapes=window,
        strides=stride,
        baselines=baseline,
        perturbations_per_eval=8,
    )
