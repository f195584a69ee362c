"""FIMAP as an attribution, and as counterfactuals with and without searches of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.errors import NotApplicableError
from xai_adapters.fimap import MinimalPerturbation, Perturbation
from xai_adapters.fimap.settings import FittingOptions
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry.claims import DISTANCES, QUERIES_MODEL, Claims
from xai_adapters.registry.entries import CounterfactualGenerator, Explainer, registered
from xai_adapters.registry.subject import Subject

# A perturber has 100 weights a column on either side, and needs rows to fit them.
_MAX_COLUMNS = 10_000
# Queries around a row, for counterfactuals that are nearer than the one FIMAP leads to.
_LOCAL_SEARCH = 400

_REFIT = "fits to models with different weights start and end differently"
_NEAR = "a fitted network's direction is near the shortest, not the shortest"
_COUNTERFACTUALS: Claims = {
    **QUERIES_MODEL,
    "target_reached": 0,
    "honest_success": 0,
    "idempotence": 0,
    "linear_length": _NEAR,
    "linear_direction": _NEAR,
}
_counterfactuals = partial(registered, kind="counterfactual", role="ours")


@dataclass(frozen=True)
class FittedFIMAP:
    """FIMAP fitted to a subject's background.

    Args:
        fitted: the fitted explainer.
        black_box: the model, if `perturb` is to query it.
        search: options of `perturb`.
    """

    fitted: MinimalPerturbation
    black_box: BlackBox | None = None
    search: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the fit and of the search."""
        return {**asdict(self.fitted.settings), **self.search}

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """Minus the smallest perturbation that leaves the class."""
        return -self.perturb(rows, target).perturbation.view_as(rows)

    def perturb(
        self, rows: Tensor, original_class: Tensor, target: Tensor | None = None
    ) -> Perturbation:
        """The rows, flattened, perturbed to leave their class or to reach the target."""
        return self.fitted.perturb(
            rows.flatten(1),
            target,
            original_class=original_class,
            black_box=self.black_box,
            **self.search,
        )

    def counterfactuals(self, rows: Tensor, original_class: Tensor) -> Tensor:
        """The perturbed rows; where the model was queried and did not flip, the rows themselves."""
        perturbation = self.perturb(rows, original_class)
        if perturbation.success is None:
            return perturbation.perturbed
        return torch.where(perturbation.success[:, None], perturbation.perturbed, rows)


@registered(
    rank_by="magnitude",
    unit="input",
    reads="probabilities",
    role="ours",
    claims={
        **DISTANCES,
        **dict.fromkeys(("linearity", "additivity", "symmetry", "target_consistency"), _REFIT),
        **dict.fromkeys(
            ("implementation_invariance", "scaling", "output_shift", "input_invariance"), 0.01
        ),
        "dummy": "a fitted perturbation moves every feature a little",
        "stability": "a neighbour across the decision is moved the other way",
    },
)
def fimap(subject: Subject, **options: Unpack[FittingOptions]) -> Explainer:
    """FIMAP: minus the smallest perturbation that flips.

    With its defaults for tables; pixels share one unit and are fitted to noisy copies, which the
    paper does not do.
    """
    rows = subject.background.flatten(1)
    if rows.shape[1] > _MAX_COLUMNS:
        raise NotApplicableError(
            f"is fitted to rows, and {len(rows)} of {rows.shape[1]:,} columns do not fit it"
        )
    shape = subject.background.shape[1:]
    box = BlackBox(
        lambda flat: subject.forward(flat.view(-1, *shape)), arrays="torch", batch_size=1024
    )
    options = {"seed": subject.seed, **options}
    if subject.kind == "image":
        options = {"scale": "shared", "noise": 1.0, **options}
    return FittedFIMAP(MinimalPerturbation(**options).fit(rows, box))


@_counterfactuals(
    claims={
        **_COUNTERFACTUALS,
        "validity": "a perturbation that flips the surrogate need not flip the model",
        "target_reached": "reaching a class of the surrogate need not reach the model's",
        "honest_success": QUERIES_MODEL["honest_success"],
        "shortest_step": _NEAR,
    }
)
def fimap_as_fitted(subject: Subject, **options: Unpack[FittingOptions]) -> CounterfactualGenerator:
    """FIMAP's counterfactuals: one forward pass.

    The model is not queried again.
    """
    return _fitted(subject, options)


@_counterfactuals(claims=_COUNTERFACTUALS)
def fimap_line_search(
    subject: Subject, **options: Unpack[FittingOptions]
) -> CounterfactualGenerator:
    """FIMAP with a line search: each step as short as the model allows."""
    return _fitted(subject, options, line_search=True)


@_counterfactuals(
    claims={
        **_COUNTERFACTUALS,
        "no_needless_change": "it shortens the last step after undoing needless changes",
    }
)
def fimap_sparsify(subject: Subject, **options: Unpack[FittingOptions]) -> CounterfactualGenerator:
    """FIMAP with a line search, needless changes undone."""
    return _fitted(subject, options, line_search=True, sparsify=True)


@_counterfactuals(claims=_COUNTERFACTUALS)
def fimap_local_search(
    subject: Subject, **options: Unpack[FittingOptions]
) -> CounterfactualGenerator:
    """FIMAP with a line search and 400 queries around each row."""
    return _fitted(subject, options, line_search=True, local_search=_LOCAL_SEARCH)


def _fitted(subject: Subject, options: FittingOptions, **search: Any) -> FittedFIMAP:
    """FIMAP fitted with options, and options of its search, if it is to query the model."""
    box = BlackBox(subject.model)
    options = {"seed": subject.seed, **options}
    solver = MinimalPerturbation(schema=subject.schema, **options).fit(subject.background, box)
    return FittedFIMAP(solver, box if search else None, search)
