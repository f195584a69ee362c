"""Maximal invariant perturbation as scores, and as counterfactuals beyond its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from xai_adapters.box import Box, InvariantBox, InvariantBoxOptions
from xai_adapters.explainers.patches import patches
from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.registry.claims import QUERIES_MODEL, WIDTHS, claims_nothing
from xai_adapters.registry.entries import (
    CounterfactualGenerator,
    Explainer,
    FunctionGenerator,
    registered,
)
from xai_adapters.registry.subject import Subject
from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.semifactual.settings import SemifactualOptions

_PHOTOGRAPH = 10_000
# Numbers in the points that are drawn around a row in a step.
_DRAWN_NUMBERS = 100_000

_SAMPLED = "its samples of the box differ from feature to feature"
_UNIT = "its steps are in the inputs' unit"
# Where steps are as long as a box is wide, a search makes of rounding as much as of other draws.
_ROUNDED_SEARCH = 0.1


@dataclass(frozen=True)
class BoxExplainer:
    """Boxes of a subject's network, as scores and as boxes.

    Args:
        network: what is explained.
        options: of `InvariantBox`.
        places: of its `solve`: the baseline, and which features are tied.
    """

    network: nn.Module
    options: InvariantBoxOptions
    places: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings of the solver as plain values."""
        return _plain(vars(InvariantBox(**self.options).settings))

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """How little each feature may move."""
        return self.boxes(rows, target).scores()

    def boxes(self, rows: Tensor, target: Tensor, max_width: float | Tensor | None = None) -> Box:
        """The box around each row, within another bound on its widths if one is given."""
        options = self.options
        if max_width is not None:
            options = {**options, "max_width": max_width}
        return InvariantBox(**options).solve(self.network, rows, target, **self.places)


@registered(
    unit="input",
    reads="probabilities",
    block_size=10,
    role="ours",
    claims={
        **WIDTHS,
        "symmetry": _SAMPLED,
        "scaling": _UNIT,
        **dict.fromkeys(
            ("implementation_invariance", "output_shift", "input_invariance"), _ROUNDED_SEARCH
        ),
        "stability": "a row across the decision has a box of no width",
        "sampled_invariance": "its penalty weighs how far points leave the class, not how many",
        "attack_inside": "it keeps the class on average, and a corner may have another",
        "width_within_bound": 0,
        "monotone_in_bound": 0.1,
        "irrelevant_width": 0,
        "box_scaling": _UNIT,
        "box_permutation": _SAMPLED,
        "box_batch_independence": 1e-5,
    },
)
def invariant_box(subject: Subject) -> Explainer:
    """Maximal invariant perturbation: how little a feature may move.

    The symmetric box, within the pixels' range or as wide as a table's columns range. Uniform
    draws, importance sampling included, tell little about an image's many widths. Fade-to-colour
    samples move many pixels one way, as a mask does; more of them leave the class, and their
    penalty is the same for any number of classes.
    """
    rows = subject.background
    if subject.kind == "image":
        return _boxes(subject, bounds=(0.0, 1.0), sampling="fade_to_colour", penalty=1.0,
                      step_size=0.05, optimizer=torch.optim.RMSprop, schedule="linear",
                      n_steps=100)  # fmt: skip
    span = (rows.amax(dim=0) - rows.amin(dim=0)).clamp(min=torch.finfo(rows.dtype).tiny)
    return _boxes(subject, max_width=span)


@registered(
    baseline="mask",
    block_size=10,
    role="ours",
    claims=claims_nothing("its baseline is the colour of a masked pixel"),
)
def directed_box(subject: Subject) -> Explainer:
    """Maximal invariant perturbation in the direction of the mask's value.

    Samples are corners of the box in which from none to all pixels are masked. The penalty is the
    same for any number of classes, as the hinge is at most 1. Many of these samples leave the
    class; they do better with an optimizer of longer memory than importance sampling does, with
    three times as many draws.
    """
    is_photograph = subject.background[0].numel() >= _PHOTOGRAPH
    return _boxes(subject, baseline=subject.mask_value(), shape="directed",
                  sampling="masked_fraction", max_draws=96, penalty=0.3,
                  optimizer=torch.optim.RMSprop, schedule="linear",
                  n_steps=100 if is_photograph else 150)  # fmt: skip


def _boxes(
    subject: Subject,
    *,
    max_draws: int = 32,
    baseline: float | None = None,
    **options: Unpack[InvariantBoxOptions],
) -> Explainer:
    """Boxes with the defaults; larger images get fewer draws, photographs one width a pixel.

    With the defaults a photograph would take a processor ten minutes.
    """
    network, tied = subject.network(), None
    image = subject.background[0]
    options["n_draws"] = min(max_draws, max(8, _DRAWN_NUMBERS // image.numel()))
    if image.numel() >= _PHOTOGRAPH:
        options["n_check_draws"] = 8
        tied = patches(image, image[0].numel())[None]
    places = {"baseline": baseline, "tied": tied}
    return BoxExplainer(network, {"seed": subject.seed, **options}, places)


@registered(
    kind="counterfactual",
    role="ours",
    claims={
        **QUERIES_MODEL,
        "no_needless_change": "it tries each feature once, and undoes changes of others later",
    },
)
def invariant_box_counterfactual(
    subject: Subject, **options: Unpack[SemifactualOptions]
) -> CounterfactualGenerator:
    """The counterfactual beyond the largest box in which the class stays.

    The narrowest features move first.
    """
    black_box = ArrayBlackBox(subject.model)
    options = {"seed": subject.seed, **options}
    solver = SemifactualBox(schema=subject.schema, **options)
    solver.fit(subject.background, black_box)

    def counterfactuals(rows: Tensor, original_class: Tensor) -> Tensor:
        return solver.explain(rows, black_box, original_class=original_class).counterfactual

    return FunctionGenerator(counterfactuals, _plain(options))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as plain values: tensors as lists, classes and functions by their name."""
    return {
        name: value.tolist() if isinstance(value, Tensor) else getattr(value, "__name__", value)
        for name, value in options.items()
    }
