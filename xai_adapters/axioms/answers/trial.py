"""One measurement: an explainer, a case, and what an axiom may ask of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from xai_adapters.axioms.axiom import Axiom, Finding, worst
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.search.case import Case
from xai_adapters.axioms.search.networks import Network
from xai_adapters.errors import NotApplicableError, XaiAdaptersError


class UnusableAnswerError(XaiAdaptersError, TypeError):
    """An explainer returned something that is not a number for each feature of each row."""


class Trial:
    """An explainer in one case of an axiom; the axiom's function asks it for what it needs.

    Attributes:
        axiom: the axiom that is measured.
        explainer: the explainer under test.
        case: what it is measured on.
        rows: (n, d) float64, the case's rows.
        targets: (n,) int64, the output that is explained of each.
    """

    def __init__(self, axiom: Axiom, explainer: Explainer, case: Case) -> None:
        self.axiom, self.explainer, self.case = axiom, explainer, case
        self.rows = torch.tensor(case.rows, dtype=torch.float64)
        self.targets = torch.tensor(case.targets, dtype=torch.int64)

    @property
    def facts(self) -> Any:
        """What the axiom drew beside networks and rows."""
        return self.case.facts

    @property
    def claim(self) -> float:
        """The error the explainer states of itself; 0 if it makes no claim."""
        claim = self.explainer.claims.get(self.axiom.name, 0.0)
        return 0.0 if isinstance(claim, str) else claim

    @cached_property
    def background(self) -> Tensor:
        """Rows (m, d) like those explained, the same for every network of d features."""
        generator = Generator().manual_seed(0)
        shape = (self.explainer.n_background, self.case.network.n_features)
        return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)

    def model(self, network: Network | None = None) -> nn.Module:
        """The case's network, or another, as the module that this explainer reads."""
        chosen = self.case.network if network is None else network
        return chosen.build(probabilities=self.explainer.domain.probabilities)

    def made(self, model: nn.Module, background: Tensor | None = None, *, seed: int = 0) -> Any:
        """The explainer, made for a model."""
        given = self.background if background is None else background
        return self.explainer.on(model, given, seed=seed)

    def attribute(
        self,
        model: nn.Module,
        rows: Tensor | None = None,
        targets: Tensor | None = None,
        background: Tensor | None = None,
    ) -> Tensor:
        """Attributions (n, d), float64, of rows (by default the case's) under a model.

        Raises:
            UnusableAnswerError: if there is not one number for each feature of each row.
        """
        rows = self.rows if rows is None else rows
        targets = self.targets if targets is None else targets
        made = self.made(model, background)
        return answered(attributing(made)(rows.clone(), targets.clone()), rows)

    def outputs(self, model: nn.Module, rows: Tensor, targets: Tensor | None = None) -> Tensor:
        """The target's output (n,) of each row."""
        targets = self.targets if targets is None else targets
        with torch.no_grad():
            found: Tensor = model(rows)
        return found.gather(1, targets[:, None])[:, 0]

    def baseline_rows(self, background: Tensor | None = None) -> Tensor:
        """The rows (m, d) that the explainer takes for absent: one, or the background.

        Raises:
            NotApplicableError: if it knows no such thing.
        """
        baseline = self.explainer.baseline
        if baseline is None:
            raise NotApplicableError("it has no baseline")
        if baseline == "data":
            return self.background if background is None else background
        return torch.full_like(self.rows[:1], baseline)

    def gain(self, model: nn.Module, rows: Tensor | None = None) -> Tensor:
        """f(x) - f(x') of each row (n,); over a background the mean of f(x')."""
        rows = self.rows if rows is None else rows
        with torch.no_grad():
            absent: Tensor = model(self.baseline_rows()).mean(dim=0)
        return self.outputs(model, rows) - absent[self.targets]

    def compare(self, expected: Tensor, got: Tensor, scale: Tensor | None = None) -> Finding:
        """The finding of the row furthest from what was expected.

        Args:
            expected: (n,) or (n, d).
            got: the same shape.
            scale: (n,) what the tolerance is relative to; by default the largest of `expected`.
        """
        if scale is None:
            scale = expected.abs().reshape(len(expected), -1).amax(dim=1)
        gaps = (expected - got).abs().reshape(len(expected), -1).amax(dim=1)
        return worst(gaps, self.tolerances(scale), expected, got)

    def tolerances(self, scale: Tensor) -> Tensor:
        """What is allowed (n,) at a scale (n,)."""
        return self.axiom.atol + (self.axiom.rtol + self.claim) * scale


def attributing(made: Any) -> Callable[..., Any]:
    """However an explainer is called, as a function of (inputs, target).

    Raises:
        UnusableAnswerError: for something that cannot be called for attributions.
    """
    for method in ("attribute", "explain"):
        if hasattr(made, method):
            made = getattr(made, method)
            break
    if not callable(made):
        raise UnusableAnswerError(
            f"make returned a {type(made).__name__}; an object with attribute(inputs, target=...) "
            "or explain(rows, target), or a callable of (inputs, target=...) was expected"
        )
    call: Callable[..., Any] = made
    return lambda inputs, target: call(inputs, target=target)


def answered(answer: Any, rows: Tensor) -> Tensor:
    """An explainer's answer as float64 (n, d).

    Raises:
        UnusableAnswerError: if it is not one number for each feature of each row.
    """
    if isinstance(answer, tuple) and len(answer) == 1:
        (answer,) = answer
    try:
        found = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise UnusableAnswerError(
            f"the explainer returned a {type(answer).__name__}; a tensor shaped like the rows was "
            "expected"
        ) from None
    if found.shape != rows.shape:
        raise UnusableAnswerError(
            f"the explainer returned shape {tuple(found.shape)} for rows of shape "
            f"{tuple(rows.shape)}; one number for each feature of each row was expected"
        )
    return found.detach().to(torch.float64)
