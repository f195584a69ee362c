"""FIMAP's two networks after fitting, and the units in which they see rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.linalg import vector_norm

from xai_adapters.core.networks import Perturber, Surrogate
from xai_adapters.core.outputs import OutputKind

_NO_FLIP = 1e6


@dataclass(frozen=True)
class FittedNetworks:
    """Surrogate s and perturber g, and all that is needed to ask them about a user's rows.

    Args:
        surrogate: stands for the black box.
        perturber: perturbs rows towards a class.
        mean: (d,) what is subtracted from a row.
        spread: (d,) what a row is then divided by.
        classes: the labels that the black box numbered, where it returns labels.
        reading: what the black box's numbers were taken for.
    """

    surrogate: Surrogate
    perturber: Perturber
    mean: Tensor
    spread: Tensor
    classes: list[Any] | None
    reading: OutputKind

    def tensors(self) -> dict[str, Tensor]:
        """Everything about the networks that is an array, by name."""
        weights = {
            f"{name}.{key}": tensor
            for name, network in (("surrogate", self.surrogate), ("perturber", self.perturber))
            for key, tensor in network.state_dict().items()
        }
        return {**weights, "mean": self.mean, "spread": self.spread}

    def facts(self) -> dict[str, Any]:
        """The rest, for JSON."""
        return {
            "n_classes": self.perturber.n_classes,
            "classes": self.classes,
            "reading": self.reading,
        }

    @classmethod
    def from_saved(
        cls,
        tensors: dict[str, Tensor],
        facts: dict[str, Any],
        surrogate_widths: Sequence[int],
        perturber_widths: Sequence[int],
    ) -> FittedNetworks:
        """The networks with these `tensors` and `facts`."""
        mean, n_classes = tensors["mean"], facts["n_classes"]
        drawn = (0.0, Generator(mean.device), mean.device)
        surrogate = Surrogate(len(mean), n_classes, surrogate_widths, *drawn)
        perturber = Perturber(len(mean), n_classes, perturber_widths, *drawn)
        networks: dict[str, Surrogate | Perturber] = {
            "surrogate": surrogate,
            "perturber": perturber,
        }
        for name, network in networks.items():
            network.freeze()
            weights = {key: tensors[f"{name}.{key}"] for key in network.state_dict()}
            network.load_state_dict(weights)
        return cls(
            surrogate, perturber, mean, tensors["spread"], facts["classes"], facts["reading"]
        )

    def standardised(self, rows: Tensor) -> Tensor:
        """Rows (n, d) as the networks see them; float32, whatever the user's dtype."""
        return ((rows.to(self.mean) - self.mean) / self.spread).to(torch.float32)

    def surrogate_class(self, rows: Tensor) -> Tensor:
        """Class (n,) that the surrogate gives the user's rows (n, d)."""
        with torch.no_grad():
            logits: Tensor = self.surrogate(self.standardised(rows))
        return logits.argmax(dim=1)

    def change(self, standardised: Tensor, target: Tensor) -> Tensor:
        """Perturbations (n, d) of standardised rows towards classes (n,), in the user's units."""
        change: Tensor = self.perturber(standardised, target)
        return change.to(self.spread) * self.spread

    def nearest_other(self, standardised: Tensor, origin: Tensor) -> Tensor:
        """The class (n,) whose perturbation leaves `origin` (n,) and is the shortest."""
        n_classes = self.perturber.n_classes
        if n_classes == 2:
            return 1 - origin
        nearest = [
            self._nearest_other_of(some_rows, some_origins, n_classes)
            # Every row is tried with every class, so blocks bound the memory.
            for some_rows, some_origins in zip(
                standardised.split(4096), origin.split(4096), strict=True
            )
        ]
        return torch.cat(nearest)

    def _nearest_other_of(self, rows: Tensor, origin: Tensor, n_classes: int) -> Tensor:
        tried = rows.repeat_interleave(n_classes, dim=0)
        target = torch.arange(n_classes, device=rows.device).repeat(len(rows))
        change = self.perturber(tried, target)
        probabilities = self.surrogate(tried + change).softmax(dim=1)
        left = origin.repeat_interleave(n_classes)
        cost = torch.where(
            probabilities.argmax(dim=1) != left,
            vector_norm(change, dim=1),
            # No flip: behind all flips, and the nearer to one the better.
            # Multiplied, as a float32 of this size has no room for a probability to be added.
            _NO_FLIP * (1 + probabilities.gather(1, left[:, None])[:, 0]),
        )
        return cost.masked_fill(target == left, torch.inf).view(-1, n_classes).argmin(dim=1)


def units(rows: Tensor, shared: bool) -> tuple[Tensor, Tensor]:
    """Mean and spread (d,) by which rows (n, d) are standardised, in at least float32."""
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    mean = rows.mean(dim=0)
    # Taken from the values themselves: rounding gives a constant column a tiny variance.
    extent = rows.amax(dim=0) - rows.amin(dim=0)
    if shared:
        extent = extent.amax().expand_as(extent)
    varies = extent > 0
    # In units of the extent, as squares of very small and very large numbers are not finite.
    variance = ((rows - mean) / torch.where(varies, extent, 1.0)).square().mean(dim=0)
    if shared:
        variance = variance.mean().expand_as(variance)
    # A constant column has no spread; its own unit is as good as any.
    return mean, torch.where(varies, extent * variance.sqrt(), 1.0)
