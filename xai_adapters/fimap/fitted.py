"""FIMAP's two networks, and the standardization in which they see rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor
from torch.linalg import vector_norm

from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap.gumbel import PartialGumbel
from xai_adapters.fimap.networks import Perturber, Surrogate
from xai_adapters.model.outputs import OutputType

_NO_FLIP = 1e6
_OWN_TENSORS = ("mean", "spread", "mean_change", "lengths")
# Rows worked on at once where each is tried with every class.
_BLOCK = 4096
# Rows worked on at once otherwise.
_LARGE_BLOCK = 65_536


@dataclass(frozen=True)
class FittedNetworks:
    """Surrogate s and perturber g, and all that is needed to apply them to encoded rows.

    Args:
        schema: what the columns are, and how each may change.
        surrogate: stands for the black box.
        perturber: perturbs rows so that they reach a class.
        mean: (c,) what is subtracted from a row's continuous columns.
        spread: (c,) what they are then divided by.
        norm: 1 or 2, the norm in which continuous changes are measured.
        classes: the labels that the black box numbered, where it returns labels.
        output_type: how the black box's numbers were read.
        mean_change: (K, c) the mean change of rows that go to each class; empty while fitting.
        lengths: (m,) how far m fitted rows are from another class of the surrogate, sorted.
    """

    schema: FeatureSchema
    surrogate: Surrogate
    perturber: Perturber
    mean: Tensor
    spread: Tensor
    norm: int
    classes: list[Any] | None
    output_type: OutputType
    mean_change: Tensor = field(default_factory=lambda: torch.empty(0))
    lengths: Tensor = field(default_factory=lambda: torch.empty(0))

    @cached_property
    def layer(self) -> PartialGumbel:
        """The perturber's last layer."""
        return PartialGumbel(len(self.schema.continuous), self.schema.group_sizes)

    @cached_property
    def costs(self) -> tuple[Tensor, Tensor]:
        """What a standard unit of each continuous feature and a change of each category costs."""
        continuous = torch.tensor([feature.cost for feature in self.schema.continuous])
        categorical = torch.tensor([feature.cost for feature in self.schema.categorical])
        return continuous.to(self.mean.device), categorical.to(self.mean.device)

    @cached_property
    def _mean(self) -> Tensor:
        """(e,) the mean of each encoded column; categories are left as they are."""
        return torch.cat((self.mean, self.mean.new_zeros(sum(self.schema.group_sizes))))

    @cached_property
    def _spread(self) -> Tensor:
        """(e,) the spread of each encoded column, 1 for categories."""
        return torch.cat((self.spread, self.spread.new_ones(sum(self.schema.group_sizes))))

    def tensors(self) -> dict[str, Tensor]:
        """Everything about the networks that is an array, by name."""
        weights = {
            f"{name}.{key}": tensor
            for name, network in (("surrogate", self.surrogate), ("perturber", self.perturber))
            for key, tensor in network.state_dict().items()
        }
        return weights | {name: getattr(self, name) for name in _OWN_TENSORS}

    def to_dict(self) -> dict[str, Any]:
        """The rest, for JSON."""
        return {
            "schema": self.schema.to_dict(),
            "n_classes": self.perturber.n_classes,
            "norm": self.norm,
            "classes": self.classes,
            "output_type": self.output_type,
        }

    @classmethod
    def from_saved(
        cls,
        tensors: dict[str, Tensor],
        values: dict[str, Any],
        surrogate_widths: Sequence[int],
        perturber_widths: Sequence[int],
    ) -> FittedNetworks:
        """The networks that `tensors` and `to_dict` describe."""
        schema = FeatureSchema.from_dict(values["schema"])
        mean, n_classes = tensors["mean"], values["n_classes"]
        drawn = (0.0, Generator(mean.device), mean.device)
        surrogate = Surrogate(schema.n_encoded, n_classes, surrogate_widths, *drawn)
        perturber = Perturber(schema.n_encoded, n_classes, perturber_widths, *drawn)
        networks: dict[str, Surrogate | Perturber] = {
            "surrogate": surrogate,
            "perturber": perturber,
        }
        for name, network in networks.items():
            network.freeze()
            weights = {key: tensors[f"{name}.{key}"] for key in network.state_dict()}
            network.load_state_dict(weights)
        own: dict[str, Any] = {name: tensors[name] for name in _OWN_TENSORS}
        rest: dict[str, Any] = {name: values[name] for name in ("norm", "classes", "output_type")}
        return cls(schema, surrogate, perturber, **own, **rest)

    def with_mean_change(self, rows: Tensor, labels: Tensor) -> FittedNetworks:
        """The same networks, knowing how they perturb these encoded rows (m, e) of classes (m,)."""
        c, n_classes = len(self.mean), self.perturber.n_classes
        mean_change = self.mean.new_zeros(n_classes, c)
        for target in range(n_classes):
            some = rows[labels != target]
            if len(some):
                classes = torch.full_like(labels[: len(some)], target)
                change = self.perturbed(some, classes) - some
                mean_change[target] = change[:, :c].mean(dim=0).to(mean_change)
        return replace(self, mean_change=mean_change)

    def encoded(self, rows: Tensor) -> Tensor:
        """The user's rows (n, d) encoded (n, e), in at least the precision of the mean."""
        return self.schema.encode(rows).to(torch.promote_types(rows.dtype, self.mean.dtype))

    def standardised(self, encoded: Tensor) -> Tensor:
        """Encoded rows (n, e) as the networks see them; float32, whatever the user's dtype."""
        return ((encoded - self._mean) / self._spread).to(torch.float32)

    def surrogate_class(self, encoded: Tensor) -> Tensor:
        """Class (n,) that the surrogate gives encoded rows (n, e)."""
        with torch.no_grad():
            return torch.cat(
                [
                    self.surrogate(self.standardised(some)).argmax(dim=1)
                    for some in encoded.split(_LARGE_BLOCK)
                ]
            )

    def predict(self, rows: Tensor) -> Tensor:
        """Class (n,) that the surrogate gives the user's rows (n, d)."""
        return self.surrogate_class(self.encoded(rows))

    def class_probabilities(self, encoded: Tensor) -> Tensor:
        """Class probabilities (n, K) of the surrogate for encoded rows (n, e); differentiable."""
        probabilities: Tensor = self.surrogate(self.standardised(encoded)).softmax(dim=1)
        return probabilities

    def proposal(self, encoded: Tensor, target: Tensor) -> Tensor:
        """What the perturber proposes for encoded rows, to be settled by the schema: (n, e)."""
        outputs = self.perturber(self.standardised(encoded), target).to(encoded.dtype)
        return self.layer.proposal(encoded, outputs * self._spread)

    def perturbed(self, encoded: Tensor, target: Tensor) -> Tensor:
        """Encoded rows (n, e) perturbed to reach classes (n,); they keep every constraint."""
        return self.schema.settle(encoded, self.proposal(encoded, target))

    def length(self, before: Tensor, after: Tensor) -> Tensor:
        """How far (n,) encoded rows are from others in the schema's metric.

        The norm of the continuous features' change in standard units, each times its cost, plus
        the cost of each category that changed.
        """
        continuous, categorical = self.costs
        moved = (after - before)[:, : len(self.mean)] / self.spread
        length: Tensor = vector_norm(moved * continuous.to(moved.dtype), self.norm, dim=1)
        if len(categorical):
            length = length + self.layer.changed(before, after) @ categorical.to(moved.dtype)
        return length

    def nearest_other(self, encoded: Tensor, original_class: Tensor) -> Tensor:
        """The class (n,) whose perturbation leaves `original_class` (n,) and is the shortest."""
        if self.perturber.n_classes == 2:
            return 1 - original_class
        return torch.cat(
            [
                self._nearest_other_of_block(some, classes)
                for some, classes in zip(
                    encoded.split(_BLOCK), original_class.split(_BLOCK), strict=True
                )
            ]
        )

    def _nearest_other_of_block(self, rows: Tensor, original_class: Tensor) -> Tensor:
        n_classes = self.perturber.n_classes
        tried = rows.repeat_interleave(n_classes, dim=0)
        target = torch.arange(n_classes, device=rows.device).repeat(len(rows))
        perturbed = self.perturbed(tried, target)
        probabilities = self.class_probabilities(perturbed)
        left = original_class.repeat_interleave(n_classes)
        cost = torch.where(
            probabilities.argmax(dim=1) != left,
            self.length(tried, perturbed).to(probabilities.dtype),
            # No flip: behind all flips, and the nearer to one the better.
            # Multiplied, as a float32 of this size has no room for a probability to be added.
            _NO_FLIP * (1 + probabilities.gather(1, left[:, None])[:, 0]),
        )
        return cost.masked_fill(target == left, torch.inf).view(-1, n_classes).argmin(dim=1)
