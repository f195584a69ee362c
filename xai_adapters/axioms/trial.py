"""One measurement: an explainer, a case, and what an axiom may ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

from xai_adapters.axioms.answers.attributions import answered, attributing
from xai_adapters.axioms.cases.case import Case
from xai_adapters.axioms.cases.networks import Network
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.finding import Finding, worst_row
from xai_adapters.errors import NotApplicableError

Scale = TypeVar("Scale", float, Tensor)


class Trial:
    """An explainer in one case of an axiom, with what the axiom's function may need of them.

    Args:
        explainer: the explainer under test.
        case: what it is measured on.
        atol: the gap that is allowed, whatever the scale.
        rtol: the gap that is allowed besides, relative to the scale.

    Attributes:
        rows: (n, d) float64, the case's rows.
        targets: (n,) int64, the output of each that is explained.
    """

    def __init__(self, explainer: Explainer, case: Case, atol: float, rtol: float) -> None:
        self.explainer, self.case = explainer, case
        self._atol, self._rtol = atol, rtol
        self.rows = torch.tensor(case.rows, dtype=torch.float64)
        self.targets = torch.tensor(case.targets, dtype=torch.int64)

    @property
    def details(self) -> Mapping[str, Any]:
        """What the axiom drew besides networks and rows."""
        return self.case.details

    def tolerance(self, scale: Scale) -> Scale:
        """The gap that is allowed at a scale: of one row, or of each (n,)."""
        return self._atol + self._rtol * scale

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
            outputs: Tensor = model(rows)
        return outputs.gather(1, targets[:, None])[:, 0]

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
        return worst_row(gaps, self.tolerance(scale), expected, got)
