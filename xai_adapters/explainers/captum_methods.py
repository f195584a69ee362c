"""Makers of Captum's attributions, with Captum's defaults unless said."""

from __future__ import annotations

from typing import Any

from captum import attr
from torch import Tensor

from xai_adapters.explainers.patches import patches
from xai_adapters.registry import Explainer, FunctionExplainer, Subject

# Rows a model sees at once where Captum lets us say so.
_BATCH = 64
_MOST_PATCHES = 200  # what the sampling methods can tell apart with some hundreds of samples


def _attributing(method: Any, **arguments: Any) -> Explainer:
    return FunctionExplainer(
        lambda rows, target: method.attribute(rows, target=target, **arguments).detach()
    )


def saliency(subject: Subject) -> Explainer:
    """The gradient with its sign, which Captum drops by default."""
    return _attributing(attr.Saliency(subject.network()), abs=False)


def input_x_gradient(subject: Subject) -> Explainer:
    """Input times gradient."""
    return _attributing(attr.InputXGradient(subject.network()))


def integrated_gradients(subject: Subject) -> Explainer:
    """Integrated gradients from 0."""
    method = attr.IntegratedGradients(subject.network())
    return _attributing(method, internal_batch_size=_BATCH)


def integrated_gradients_mask(subject: Subject) -> Explainer:
    """Integrated gradients from the mask's value."""
    method = attr.IntegratedGradients(subject.network())
    return _attributing(method, baselines=subject.mask_value(), internal_batch_size=_BATCH)


def guided_backprop(subject: Subject) -> Explainer:
    """Guided backpropagation."""
    return _attributing(attr.GuidedBackprop(subject.network()))


def deep_lift(subject: Subject) -> Explainer:
    """DeepLIFT from 0."""
    return _attributing(attr.DeepLift(subject.network()))


def deep_lift_mask(subject: Subject) -> Explainer:
    """DeepLIFT from the mask's value."""
    return _attributing(attr.DeepLift(subject.network()), baselines=subject.mask_value())


def lrp(subject: Subject) -> Explainer:
    """Layer-wise relevance propagation."""
    return _attributing(attr.LRP(subject.network()))


def occlusion(subject: Subject) -> Explainer:
    """Occlusion by 0."""
    return _occlusion(subject, 0.0)


def occlusion_mask(subject: Subject) -> Explainer:
    """Occlusion by the mask's value."""
    return _occlusion(subject, subject.mask_value())


def smooth_grad(subject: Subject) -> Explainer:
    """Mean gradient of noisy copies; noise of 15 % of the range, as in Smilkov et al. 2017."""
    method = attr.NoiseTunnel(attr.Saliency(subject.network()))
    span = float(subject.background.max() - subject.background.min())
    return _attributing(
        method,
        nt_type="smoothgrad",
        nt_samples=50,
        nt_samples_batch_size=5,
        stdevs=0.15 * span,
        abs=False,
    )


def gradient_shap(subject: Subject) -> Explainer:
    """Expected gradients."""
    return _attributing(
        attr.GradientShap(subject.network()), baselines=subject.background[:20], n_samples=20
    )


def kernel_shap(subject: Subject) -> Explainer:
    """KernelSHAP over pixels or patches."""
    return _sampling(attr.KernelShap(subject.forward), subject, n_samples=500)


def lime(subject: Subject) -> Explainer:
    """LIME over pixels or patches."""
    return _sampling(attr.Lime(subject.forward), subject, n_samples=500)


def shapley_value_sampling(subject: Subject) -> Explainer:
    """Shapley values of pixels or patches."""
    method = attr.ShapleyValueSampling(subject.forward)
    return _sampling(method, subject, n_samples=10)


def _sampling(method: Any, subject: Subject, n_samples: int) -> Explainer:
    return _attributing(
        method,
        n_samples=n_samples,
        perturbations_per_eval=_BATCH,
        feature_mask=_groups(subject),
    )


def _groups(subject: Subject) -> Tensor | None:
    row = subject.background[0]
    return patches(row, _MOST_PATCHES)[None] if subject.kind == "image" else None


def _occlusion(subject: Subject, fill: float) -> Explainer:
    window: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    if subject.kind == "image":
        channels, height, _ = subject.background.shape[1:]
        # The paper's 12 pixels of 224; small images are scanned pixel by pixel.
        side = max(2, round(height * 12 / 224))
        step = side if height > 64 else 1
        window, stride = (channels, side, side), (channels, step, step)
    return _attributing(
        attr.Occlusion(subject.forward),
        sliding_window_shapes=window,
        strides=stride,
        baselines=fill,
        perturbations_per_eval=8,
    )
