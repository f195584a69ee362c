"""Every registered attribution on small models, from the registry itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("captum")
pytest.importorskip("shap")
pytest.importorskip("lime")

from xai_adapters.errors import NotApplicableError
from xai_adapters.registry import Subject, explainer_entry, explainer_names

NEED_GRADIENTS = {
    "invariant_box", "saliency", "input_x_gradient", "integrated_gradients",
    "integrated_gradients_mask", "guided_backprop", "deep_lift", "deep_lift_mask", "lrp",
    "smooth_grad", "gradient_shap", "linear_program", "linear_program_smooth", "learned_mask",
}  # fmt: skip
NEED_IMAGES = {"greedy", "occlusion_mask", "rise", "directed_box"}


class Left(nn.Module):
    """Two classes told apart by the left half of a 4 x 4 image, one weight a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 2, dtype=torch.float32)
        weight = torch.zeros(4, 4)
        weight[:, :2] = torch.tensor([[1.0, 2.0]]) * torch.tensor([[1.0], [2.0], [3.0], [4.0]])
        with torch.no_grad():
            self.linear.weight.copy_(torch.stack((weight.flatten(), -weight.flatten())))
            self.linear.bias.copy_(torch.tensor([-15.0, 15.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(torch.flatten(images, 1))


class Threshold:
    """A forest in miniature: class 1 where the first column is positive."""

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        positive = 0.1 + 0.8 * (X[:, 0] > 0)
        return np.stack((1 - positive, positive), axis=1)


def image_subject() -> Subject:
    generator = torch.Generator().manual_seed(0)
    return Subject(Left().eval(), torch.rand(128, 1, 4, 4, generator=generator), "image", 0.5)


def table_subject() -> Subject:
    generator = torch.Generator().manual_seed(0)
    return Subject(Threshold(), torch.randn(256, 3, generator=generator), "tabular", None)


def explained(
    name: str, subject: Subject, n: int = 3, *, asked_before: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    rows = subject.background[:n]
    target = subject.forward(rows).argmax(dim=1)
    seed()
    explainer = explainer_entry(name).load()(subject)
    if asked_before:
        explainer.explain(rows[1:2], target[1:2])
    seed()
    return explainer.explain(rows, target), rows, target


def seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what shap draws from


@pytest.mark.parametrize("name", explainer_names("attribution"))
def test_image_scores_are_shaped_like_the_images_and_finite(name: str):
    scores, rows, _ = explained(name, image_subject())
    assert scores.shape == rows.shape
    assert scores.isfinite().all()
    # The same again, whatever was asked before: runs are interrupted, and blocks dealt to many.
    again, _, _ = explained(name, image_subject(), asked_before=True)
    assert torch.equal(scores, again)


@pytest.mark.parametrize(
    "name", sorted(set(explainer_names("attribution")) - {"random", "lime_tabular"})
)
def test_irrelevant_pixels_are_less_relevant(name: str):
    scores, _, _ = explained(name, image_subject())
    relevance = scores.abs() if explainer_entry(name).rank_by == "magnitude" else scores
    if name in ("fimap", "invariant_box", "greedy") or relevance.min() >= 0:
        told = relevance.flatten(1).amax(dim=1) > relevance.flatten(1).amin(dim=1)
        left, right = relevance[..., :2].mean((1, 2, 3)), relevance[..., 2:].mean((1, 2, 3))
        assert (left > right)[told].all()
        # Where all of the linear programs' narrow box is safe, or all of the way to the mask, no
        # pixel is told from another.
        some = name.startswith(("linear_program", "directed_box"))
        assert told.any() if some else told.all()
    else:
        assert relevance[..., 2:].abs().mean() < 0.3 * relevance[..., :2].abs().mean()


@pytest.mark.parametrize("name", explainer_names("attribution"))
def test_tables_are_explained_or_refused_with_the_reason(name: str):
    subject = table_subject()
    if name in NEED_GRADIENTS | NEED_IMAGES:
        reason = "only torch modules have" if name in NEED_GRADIENTS else "tables do not have"
        with pytest.raises(NotApplicableError, match=reason):
            explained(name, subject)
        return
    scores, rows, target = explained(name, subject)
    assert scores.shape == rows.shape
    assert scores.isfinite().all()
    # Weights and perturbations point up for class 1; contributions are positive for one's own
    # class; and kernel_shap's baseline of 0 has class 0, whose rows differ from it in nothing.
    sign = 2 * target - 1
    if name in ("fimap", "lime_tabular"):
        assert (scores[:, 0] * sign > 0).all()
    if name in ("shap_kernel", "shap_permutation"):
        assert (scores[:, 0] > 0.2).all()
    if name == "kernel_shap":
        assert torch.allclose(scores[:, 0], 0.8 * (target == 1), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("saliency", lambda x, w: w),
        ("input_x_gradient", lambda x, w: x * w),
        ("integrated_gradients", lambda x, w: x * w),
        ("integrated_gradients_mask", lambda x, w: (x - 0.5) * w),
        ("deep_lift", lambda x, w: x * w),
        ("deep_lift_mask", lambda x, w: (x - 0.5) * w),
        ("shapley_value_sampling", lambda x, w: x * w),
        ("kernel_shap", lambda x, w: x * w),
    ],
)
def test_closed_forms_on_a_linear_model(name: str, expected: Any):
    scores, rows, target = explained(name, image_subject())
    weight = Left().linear.weight.detach()[target].view_as(rows)
    assert torch.allclose(scores, expected(rows, weight), atol=1e-3)


def test_greedy_is_at_least_as_good_as_the_weights_say():
    scores, rows, target = explained("greedy", image_subject())
    weight = Left().linear.weight.detach()[target].view_as(rows)
    # Masking a pixel moves the margin by 2 (0.5 - x) w: the greedy order is that of this product.
    effect = ((0.5 - rows) * weight).flatten(1)
    order = scores.flatten(1).argsort(dim=1)
    assert (effect.gather(1, order).diff(dim=1) <= 1e-5).all()


def test_columns_by_the_hundred_thousand_are_refused_with_the_reason():
    wide = Subject(Left().eval(), torch.zeros(2, 3, 64, 64), "image", 0.5)
    for name in ("fimap", "lime_tabular", "shap_kernel", "shap_permutation"):
        with pytest.raises(NotApplicableError, match="12,288 columns"):
            explainer_entry(name).load()(wide)
