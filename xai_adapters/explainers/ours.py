"""Makers of our own two explainers; those that fit take settings of the fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from xai_adapters.box.explainer import Box, InvariantBox
from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers.patches import patches
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.fimap import MinimalPerturbation, Perturbation
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import (
    CounterfactualGenerator,
    Explainer,
    FunctionGenerator,
    Subject,
)
from xai_adapters.semifactual.explainer import SemifactualBox

# A perturber has 100 weights a column on either side, and has to see rows to fit them.
_MOST_COLUMNS = 10_000
_PHOTOGRAPH = 10_000
# Numbers in the points that are drawn around a row in a step.
_DRAWN = 100_000
# Questions around a row, for flips that are nearer than the one FIMAP leads to.
_LOCAL_SEARCH = 400


@dataclass(frozen=True)
class FIMAPExplainer:
    """FIMAP fitted to a subject's background."""

    fitted: MinimalPerturbation

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """Minus the smallest perturbation that leaves the class."""
        return -self.fitted.perturb(rows.flatten(1), original_class=target).perturbation.view_as(
            rows
        )

    def perturb(self, rows: Tensor, original_class: Tensor) -> Perturbation:
        """The rows, flattened, perturbed to leave their class."""
        return self.fitted.perturb(rows.flatten(1), original_class=original_class)


@dataclass(frozen=True)
class FIMAPCounterfactuals:
    """FIMAP fitted to a subject's background, with how it is to perturb."""

    fitted: MinimalPerturbation
    settings: Mapping[str, Any] = field(default_factory=dict)

    def perturb(
        self, rows: Tensor, original_class: Tensor, target: Tensor | None = None
    ) -> Perturbation:
        """The rows perturbed to leave their class, or to reach the target."""
        return self.fitted.perturb(rows, target, original_class=original_class, **self.settings)

    def counterfactuals(self, rows: Tensor, original_class: Tensor) -> Tensor:
        """The perturbed rows; where the model was asked and says no, the rows as they are."""
        found = self.perturb(rows, original_class)
        if found.success is None:
            return found.perturbed
        return torch.where(found.success[:, None], found.perturbed, rows)


@dataclass(frozen=True)
class BoxExplainer:
    """Boxes of a subject's network, as scores and as boxes.

    Args:
        network: what is explained.
        settings: of `InvariantBox`.
        places: of its `solve`: the baseline, and which features are tied.
    """

    network: nn.Module
    settings: Mapping[str, Any]
    places: Mapping[str, Any] = field(default_factory=dict)

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """How little each feature may move."""
        return self.boxes(rows, target).scores()

    def boxes(self, rows: Tensor, target: Tensor, max_width: float | Tensor | None = None) -> Box:
        """The box around each row, within another bound on its widths if one is given."""
        bound = {} if max_width is None else {"max_width": max_width}
        solver = InvariantBox(**{**self.settings, **bound})
        return solver.solve(self.network, rows, target, **self.places)


def fimap(subject: Subject, **given: Any) -> Explainer:
    """FIMAP as it comes; pixels share one unit and are smoothed, which the paper does not do."""
    rows = subject.background.flatten(1)
    if rows.shape[1] > _MOST_COLUMNS:
        raise NotApplicableError(
            f"is fitted to rows, and {len(rows)} of {rows.shape[1]:,} columns do not fit it"
        )
    shape = subject.background.shape[1:]
    box = BlackBox(
        lambda flat: subject.forward(flat.view(-1, *shape)), arrays="torch", batch_size=1024
    )
    settings: dict[str, Any] = {}
    if subject.kind == "image":
        settings = {"scale": "shared", "noise": 1.0}
    solver = MinimalPerturbation(**{"seed": subject.seed, **settings, **given})
    return FIMAPExplainer(solver.fit(rows, box))


def fimap_as_fitted(subject: Subject, **given: Any) -> CounterfactualGenerator:
    """FIMAP's counterfactuals from one forward pass; the model is asked nothing more."""
    return _counterfactuals(subject, given, line_search=False)


def fimap_line_search(subject: Subject, **given: Any) -> CounterfactualGenerator:
    """FIMAP, and the shortest step along each perturbation that flips the model."""
    return _counterfactuals(subject, given, line_search=True)


def fimap_sparsify(subject: Subject, **given: Any) -> CounterfactualGenerator:
    """FIMAP with a line search, and each change undone that is not needed."""
    return _counterfactuals(subject, given, line_search=True, sparsify=True)


def fimap_local_search(subject: Subject, **given: Any) -> CounterfactualGenerator:
    """FIMAP with a line search, and a search around each row for flips that are nearer."""
    return _counterfactuals(subject, given, line_search=True, local_search=_LOCAL_SEARCH)


def invariant_box_counterfactual(subject: Subject, **given: Any) -> CounterfactualGenerator:
    """The way out of the largest box in which the class stays, narrowest features first."""
    black_box = ArrayBlackBox(subject.model)
    solver = SemifactualBox(**{"schema": subject.schema, "seed": subject.seed, **given})
    solver.fit(subject.background, black_box)

    def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
        return solver.explain(rows, black_box, original_class=original_class).counterfactual

    return FunctionGenerator(counterfactuals)


def _counterfactuals(
    subject: Subject,
    given: Mapping[str, Any],
    *,
    line_search: bool,
    sparsify: bool = False,
    local_search: int = 0,
) -> FIMAPCounterfactuals:
    box = BlackBox(subject.model)
    solver = MinimalPerturbation(**{"schema": subject.schema, "seed": subject.seed, **given})
    solver.fit(subject.background, box)
    if not line_search:
        return FIMAPCounterfactuals(solver)
    settings = {"line_search": True, "sparsify": sparsify, "local_search": local_search}
    return FIMAPCounterfactuals(solver, {"black_box": box, **settings})


def invariant_box(subject: Subject) -> Explainer:
    """The symmetric box, within the pixels' range or as wide as a table's columns range.

    Of an image's many widths uniform draws, even tilted ones, tell little; faded ones move many
    pixels one way, as a mask does. Of those more leave the class, and their penalty is the same for
    any number of classes.
    """
    rows = subject.background
    if subject.kind == "image":
        return _boxes(subject, bounds=(0.0, 1.0), draws="faded", penalty=1.0, step_size=0.05,
                      optimizer=torch.optim.RMSprop, schedule="linear", n_steps=100)  # fmt: skip
    span = (rows.amax(dim=0) - rows.amin(dim=0)).clamp(min=torch.finfo(rows.dtype).tiny)
    return _boxes(subject, max_width=span)


def directed_box(subject: Subject) -> Explainer:
    """The box towards the mask's value, seen at corners with from no to all pixels moved.

    Its penalty is the same for any number of classes: the hinge, too, is at most 1 for all. Many
    graded draws leave the class, and do better with a longer memory than tilted ones, of which a
    third as many tell as much.
    """
    is_photograph = subject.background[0].numel() >= _PHOTOGRAPH
    return _boxes(subject, baseline=subject.mask_value(), shape="directed", draws="graded",
                  most_draws=96, penalty=0.3, optimizer=torch.optim.RMSprop, schedule="linear",
                  n_steps=100 if is_photograph else 150)  # fmt: skip


def _boxes(
    subject: Subject, *, most_draws: int = 32, baseline: float | None = None, **settings: Any
) -> Explainer:
    """Boxes with the defaults; of larger images fewer draws, of photographs one width a pixel too.

    With the defaults a photograph would take a processor ten minutes.
    """
    network, tied = subject.network(), None
    image = subject.background[0]
    settings["n_draws"] = min(most_draws, max(8, _DRAWN // image.numel()))
    if image.numel() >= _PHOTOGRAPH:
        settings["n_check_draws"] = 8
        tied = patches(image, image[0].numel())[None]
    places = {"baseline": baseline, "tied": tied}
    return BoxExplainer(network, {"seed": subject.seed, **settings}, places)
