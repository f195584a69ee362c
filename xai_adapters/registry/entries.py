"""Every explainer that can be named: what it is, and how to make one for a model.

A package adds its own through an entry point of the group `xai_adapters.explainers`: the name is
the explainer's, the object an `ExplainerEntry`. It is imported when it is first used.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.errors import InvalidInputError, NotApplicableError, UnknownNameError
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import Perturbation
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry.claims import CLAIMS, DOMAINS, READ_PROBABILITIES, UNITS

ENTRY_POINT_GROUP = "xai_adapters.explainers"


@dataclass(frozen=True)
class Subject:
    """What an explainer is made for.

    Args:
        model: a torch module giving class logits or probabilities, or an estimator with
            `predict_proba`.
        background: (m, ...) rows like those to be explained.
        kind: whether rows are (n, channels, height, width) images in [0, 1] or (n, d) tables.
        fill: the value that a masked pixel takes in the metric; None for a table, which has none.
        seed: of whatever the explainer draws.
        schema: what a table's columns are and how each may change; None where they are numbers
            that are free to.
    """

    model: Any
    background: Tensor
    kind: Literal["image", "tabular"]
    fill: float | None
    seed: int = 0
    schema: FeatureSchema | None = None

    def network(self) -> nn.Module:
        """The model, if it has gradients.

        Raises:
            NotApplicableError: if it has none.
        """
        if not isinstance(self.model, nn.Module):
            raise NotApplicableError(
                f"needs gradients, which a {type(self.model).__name__} does not have"
            )
        return self.model

    def mask_value(self) -> float:
        """The value that a masked pixel takes, for explainers whose baseline is the mask's.

        Raises:
            NotApplicableError: for a table.
        """
        if self.fill is None:
            raise NotApplicableError("needs the value of masked pixels, which tables do not have")
        return self.fill

    def forward(self, rows: Tensor) -> Tensor:
        """Class outputs of rows, as a function of tensors, whatever the model is."""
        if isinstance(self.model, nn.Module):
            outputs: Tensor = self.model(rows)
            return outputs
        return BlackBox(self.model).probabilities(rows).to(rows.dtype)

    def probabilities(self, table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Class probabilities (n, K) of flattened rows (n, d), as a function of arrays."""
        rows = torch.as_tensor(table).to(self.background)
        rows = rows.view(-1, *self.background.shape[1:])
        found: np.ndarray[Any, Any] = BlackBox(self.model).probabilities(rows).cpu().numpy()
        return found


class Explainer(Protocol):
    """What a registered explainer's maker returns."""

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """Scores shaped like `rows`, for the classes `target` (n,)."""


@runtime_checkable
class CounterfactualExplainer(Explainer, Protocol):
    """An explainer that also changes rows so that their class flips."""

    def perturb(self, rows: Tensor, original_class: Tensor) -> Perturbation:
        """Rows, flattened to (n, d), perturbed to leave the classes `original_class` (n,)."""


@runtime_checkable
class CounterfactualGenerator(Protocol):
    """What the maker of an entry of kind "counterfactual" returns."""

    def counterfactuals(self, rows: Tensor, original_class: Tensor) -> Tensor:
        """Rows (n, d) changed to leave their classes (n,); unchanged where none is found."""


@dataclass(frozen=True)
class FunctionGenerator:
    """A counterfactual generator that is one function of rows and their classes."""

    counterfactuals: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FunctionExplainer:
    """An explainer that is one function of rows and targets."""

    explain: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ExplainerEntry:
    """An explainer by name.

    Args:
        name: what it is called on the command line and in results.
        summary: what it computes, in one line.
        make: a function of a `Subject` that returns an `Explainer` (for that kind a
            `CounterfactualGenerator`), or "module:function"; it raises `NotApplicableError` with
            the reason where the explainer cannot serve.
        baseline: what "absent" means to it: "none", "black", "mask" (the subject's fill), "data".
        rank_by: whether a feature is relevant by its score's "value" or by its "magnitude".
        kind: "attribution" for scores of features, "counterfactual" for changed rows.
        block_size: rows given at once; None for all. Small for those that loop over rows anyway,
            so that a time limit and a progress bar can act between them; 1 for those that draw from
            the global generators for all rows at once, so that each row has draws of its own.
        claims: by axiom of `xai_adapters.axioms` the error it states of itself, 0 for none, or as
            text the reason why it does not claim that axiom.
        unit: what its scores are measured in: shares of the "output", slopes ("output/input") or
            distances ("input"); None if in nothing.
        reads: whether it explains the model's "outputs" as they are or class "probabilities".
        domain: further limits of what it is made for, settings of `xai_adapters.axioms.Domain`.
    """

    name: str
    summary: str
    make: str | Callable[[Subject], Any]
    baseline: Literal["none", "black", "mask", "data"] = "none"
    rank_by: Literal["value", "magnitude"] = "value"
    kind: Literal["attribution", "counterfactual"] = "attribution"
    block_size: int | None = None
    claims: Mapping[str, float | str] = field(default_factory=dict)
    unit: Literal["output", "output/input", "input"] | None = None
    reads: Literal["outputs", "probabilities"] = "outputs"
    domain: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Callable[[Subject], Any]:
        """Import the maker, so that making an explainer can be timed apart from importing it."""
        if not isinstance(self.make, str):
            return self.make
        module, _, name = self.make.partition(":")
        maker: Callable[[Subject], Any] = getattr(importlib.import_module(module), name)
        return maker


def explainer_names(kind: str | None = None) -> list[str]:
    """Names of all explainers, or those of a kind: ours, the comparators, those of entry points.

    Of a kind, an entry point that cannot be used is left out with a warning.
    """
    if kind is not None:
        return [entry.name for entry in explainer_entries() if entry.kind == kind]
    return [*_BUILT_IN, *(name for name in _from_entry_points() if name not in _BUILT_IN)]


def explainer_entries() -> list[ExplainerEntry]:
    """All explainers; an entry point that cannot be used is left out with a warning."""
    found = []
    for name in explainer_names():
        try:
            found.append(explainer_entry(name))
        except InvalidInputError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=2)
    return found


def explainer_entry(name: str) -> ExplainerEntry:
    """The explainer of that name.

    Raises:
        UnknownNameError: if there is none, with the nearest name.
        InvalidInputError: if it is an entry point that cannot be used.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    found = _from_entry_points()
    if name not in found:
        raise UnknownNameError("explainer", name, explainer_names())
    point = found[name]
    where = f"explainer '{name}', which an installed package declares as '{point.value}',"
    try:
        entry = point.load()
    except Exception as error:
        # Whatever the code of a package raises, the others can still be used.
        raise InvalidInputError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(entry, ExplainerEntry):
        raise InvalidInputError(
            f"{where} is a {type(entry).__name__}; an ExplainerEntry was expected"
        )
    return replace(entry, name=name)


def _from_entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _in(module: str, *entries: ExplainerEntry) -> dict[str, ExplainerEntry]:
    """Entries by name, made by functions of `module`."""
    return {
        entry.name: replace(
            entry,
            make=f"xai_adapters.explainers.{module}:{entry.make}",
            claims=CLAIMS.get(entry.name, {}),
            unit=UNITS.get(entry.name),
            # Who changes classes reads what decides on them.
            reads="probabilities"
            if entry.kind == "counterfactual" or entry.name in READ_PROBABILITIES
            else "outputs",
            domain=DOMAINS.get(entry.name, {}),
        )
        for entry in entries
    }


_BUILT_IN = {
    **_in(
        "ours",
        ExplainerEntry(
            "fimap", "FIMAP: minus the smallest perturbation that flips", "fimap",
            rank_by="magnitude",
        ),
        ExplainerEntry(
            "invariant_box", "Maximal invariant perturbation: how little a feature may move",
            "invariant_box", block_size=10,
        ),
        ExplainerEntry(
            "directed_box", "Maximal invariant perturbation towards the mask's value",
            "directed_box", "mask", block_size=10,
        ),
        ExplainerEntry(
            "fimap_as_fitted", "FIMAP's counterfactuals: one forward pass", "fimap_as_fitted",
            kind="counterfactual",
        ),
        ExplainerEntry(
            "fimap_line_search", "FIMAP with a line search: each step as short as the model allows",
            "fimap_line_search", kind="counterfactual",
        ),
        ExplainerEntry(
            "fimap_sparsify", "FIMAP with a line search, needless changes undone", "fimap_sparsify",
            kind="counterfactual",
        ),
        ExplainerEntry(
            "fimap_local_search", "FIMAP with a line search and 400 questions around each row",
            "fimap_local_search", kind="counterfactual",
        ),
        ExplainerEntry(
            "invariant_box_counterfactual",
            "The counterfactual beyond the largest box in which the class stays",
            "invariant_box_counterfactual", kind="counterfactual",
        ),
    ),
    **_in(
        "captum_methods",
        ExplainerEntry("saliency", "Gradient", "saliency", rank_by="magnitude"),
        ExplainerEntry("input_x_gradient", "Input times gradient", "input_x_gradient", "black"),
        ExplainerEntry(
            "integrated_gradients", "Integrated gradients, 50 steps from black",
            "integrated_gradients", "black", block_size=10,
        ),
        ExplainerEntry(
            "integrated_gradients_mask", "Integrated gradients, 50 steps from the mask's value",
            "integrated_gradients_mask", "mask", block_size=10,
        ),
        ExplainerEntry(
            "guided_backprop", "Guided backpropagation", "guided_backprop", rank_by="magnitude"
        ),
        ExplainerEntry("deep_lift", "DeepLIFT from black", "deep_lift", "black"),
        ExplainerEntry(
            "deep_lift_mask", "DeepLIFT from the mask's value", "deep_lift_mask", "mask"
        ),
        ExplainerEntry("lrp", "Layer-wise relevance propagation, epsilon rule", "lrp", "black"),
        ExplainerEntry(
            "occlusion", "Occlusion with a black window", "occlusion", "black", block_size=10
        ),
        ExplainerEntry(
            "occlusion_mask", "Occlusion with a window of the mask's value", "occlusion_mask",
            "mask", block_size=10,
        ),
        ExplainerEntry(
            "smooth_grad", "SmoothGrad, 50 noisy copies", "smooth_grad", rank_by="magnitude",
            block_size=1,
        ),
        ExplainerEntry(
            "gradient_shap", "Expected gradients from 20 background rows", "gradient_shap",
            "data", block_size=1,
        ),
        ExplainerEntry(
            "kernel_shap", "Captum's KernelSHAP, 500 samples", "kernel_shap", "black",
            block_size=1,
        ),
        ExplainerEntry("lime", "Captum's LIME, 500 samples", "lime", "black", block_size=1),
        ExplainerEntry(
            "shapley_value_sampling", "Shapley values from 10 permutations",
            "shapley_value_sampling", "black", block_size=1,
        ),
    ),
    **_in(
        "shap_methods",
        ExplainerEntry(
            "shap_kernel", "shap's KernelExplainer, 20 background rows", "kernel", "data",
            block_size=1,
        ),
        ExplainerEntry(
            "shap_permutation", "shap's PermutationExplainer, 20 background rows", "permutation",
            "data", block_size=1,
        ),
    ),
    **_in(
        "lime_methods",
        ExplainerEntry(
            "lime_tabular", "lime's LimeTabularExplainer, 5,000 samples, not discretised",
            "lime_tabular", "data", block_size=1,
        ),
    ),
    **_in(
        "linear_programs",
        ExplainerEntry(
            "linear_program", "Hara et al.: the largest box of the linearised model",
            "linear_program", block_size=10,
        ),
        ExplainerEntry(
            "linear_program_smooth", "Hara et al., linearised at ten noisy copies too",
            "linear_program_smooth", block_size=10,
        ),
    ),
    **_in(
        "random_masks",
        ExplainerEntry(
            "rise", "RISE, 4,000 random masks of the mask's value", "rise", "mask", block_size=1
        ),
    ),
    **_in(
        "learned_mask",
        ExplainerEntry(
            "learned_mask", "Fong and Vedaldi: the least that is shown to keep the class",
            "learned_mask", "mask", block_size=10,
        ),
    ),
    **_in(
        "reference_explainers",
        ExplainerEntry(
            "greedy", "Greedy search on the masking curve: the upper bound", "greedy", "mask",
            block_size=1,
        ),
        ExplainerEntry("random", "Random scores: chance", "random", block_size=1),
    ),
    **_in(
        "exact_counterfactuals",
        ExplainerEntry(
            "nearest_leaf", "The nearest point of another class's leaf, for one decision tree",
            "nearest_leaf", kind="counterfactual",
        ),
        ExplainerEntry(
            "nearest_on_plane", "The nearest point beyond a linear classifier's plane",
            "nearest_on_plane", kind="counterfactual",
        ),
        ExplainerEntry(
            "nearest_on_grid", "The nearest of 400 x 400 points, for two columns of numbers",
            "nearest_on_grid", kind="counterfactual",
        ),
    ),
    **_in(
        "sampled_counterfactuals",
        ExplainerEntry(
            "nearest_unlike", "Nearest unlike neighbour: the nearest training row that flips",
            "nearest_unlike", "data", kind="counterfactual", block_size=50,
        ),
        ExplainerEntry(
            "growing_spheres", "Growing spheres, 500 points a shell", "growing_spheres",
            kind="counterfactual", block_size=50,
        ),
    ),
    **_in(
        "gradient_counterfactuals",
        ExplainerEntry(
            "wachter", "Wachter et al.: the other class's loss and the distance, by gradients",
            "wachter", kind="counterfactual",
        ),
        ExplainerEntry(
            "gradient_ascent", "Steps along the other class's gradient until it flips",
            "gradient_ascent", kind="counterfactual",
        ),
    ),
    **_in(
        "dice_methods",
        ExplainerEntry(
            "dice_random", "DiCE, random sampling", "dice_random", "data", kind="counterfactual",
            block_size=1,
        ),
        ExplainerEntry(
            "dice_genetic", "DiCE, genetic search", "dice_genetic", "data", kind="counterfactual",
            block_size=1,
        ),
        ExplainerEntry(
            "dice_kdtree", "DiCE, training rows from a kd-tree", "dice_kdtree", "data",
            kind="counterfactual", block_size=1,
        ),
        ExplainerEntry(
            "dice_gradient", "DiCE, gradient descent", "dice_gradient", "data",
            kind="counterfactual", block_size=1,
        ),
    ),
    **_in(
        "alibi_methods",
        ExplainerEntry(
            "cfrl", "Alibi's CounterfactualRLTabular, 10,000 steps", "cfrl", "data",
            kind="counterfactual", block_size=100,
        ),
    ),
}  # fmt: skip
