"""What FIMAP's networks minimise: equation 2 for the surrogate, equations 3 to 5 for the perturber.

Everything here is differentiable; random draws come from the generator of the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.linalg import vector_norm
from torch.nn.functional import cross_entropy, relu

from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.settings import FittingSettings

# What a category beyond `max_categories` costs, in units of one within.
_EXCESS_COST = 10.0

Measures = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The losses of both networks, for encoded rows (b, e) and the black box's answers (b, K).

    Args:
        networks: that are fitted.
        settings: penalties, noise, and kind of labels.
        generator: draws targets, noise, and categories.
    """

    networks: FittedNetworks
    settings: FittingSettings
    generator: Generator

    def surrogate_loss(self, rows: Tensor, answers: Tensor) -> tuple[Tensor, Measures]:
        """Equation 2 with noise: the loss, and the share of rows on which the class agrees."""
        standardised = self.with_noise(self.networks.standardised(rows))
        outputs = self.networks.surrogate(standardised)
        right = outputs.detach().argmax(dim=1) == answers.argmax(dim=1)
        loss = cross_entropy(outputs, self._labels(answers))
        return loss, {"accuracy": right.float().mean()}

    def surrogate_validation_loss(self, rows: Tensor, answers: Tensor) -> Tensor:
        """Equation 2, without noise."""
        outputs = self.networks.surrogate(self.networks.standardised(rows))
        return cross_entropy(outputs, self._labels(answers))

    def perturber_loss(
        self, rows: Tensor, answers: Tensor, temperature: float, early_penalty: float = 0.0
    ) -> tuple[Tensor, Measures]:
        """Equation 3: the loss of another class, drawn anew each time, plus what changes cost.

        Args:
            rows: (b, e) encoded rows.
            answers: (b, K) of the black box.
            temperature: of the Gumbel-softmax.
            early_penalty: added to the penalty.

        Returns:
            The loss; and the share of rows that flip, the mean length of their continuous changes
            and the mean cost of their categories.
        """
        networks, settings = self.networks, self.settings
        standardised = networks.standardised(rows)
        target = self.another_class(answers.argmax(dim=1))
        perturbed = self.perturbed(rows, standardised, target, temperature)
        logits = networks.surrogate(self.with_noise(perturbed))
        length, categories = self._costs(standardised, perturbed)
        flips = (logits.detach().argmax(dim=1) == target).float().mean()
        cost = (settings.penalty + early_penalty) * length
        cost = cost + settings.category_penalty * categories
        loss = cross_entropy(logits, target) + cost
        return loss, {"flips": flips, "length": length, "categories": categories}

    def perturbed(
        self, rows: Tensor, standardised: Tensor, target: Tensor, temperature: float
    ) -> Tensor:
        """Standardised rows (b, e) perturbed differentiably, within what the schema allows.

        Numbers are not rounded to whole ones: a step of one is too coarse for a gradient.
        """
        networks, schema = self.networks, self.networks.schema
        layer = networks.layer
        proposal = layer.proposal(standardised, networks.perturber(standardised, target))
        if schema.is_free:
            return proposal
        lower, upper = (
            ((bounds - networks.mean) / networks.spread).to(standardised.dtype)
            for bounds in schema.intervals(rows)
        )
        c = layer.n_continuous
        proposal = torch.cat((proposal[:, :c].clamp(lower, upper), proposal[:, c:]), dim=1)
        return layer.sample(proposal, schema.choices(rows), temperature, self.generator)

    def another_class(self, labels: Tensor) -> Tensor:
        """For each class (b,) another one, each as likely as the others."""
        n_classes = self.networks.perturber.n_classes
        shift = torch.randint(
            1, n_classes, labels.shape, generator=self.generator, device=labels.device
        )
        return (labels + shift) % n_classes

    def with_noise(self, standardised: Tensor) -> Tensor:
        """Standardised rows with Gaussian noise on their continuous columns."""
        noise = self.settings.noise
        if noise == 0:
            return standardised
        c = self.networks.layer.n_continuous
        draws = torch.randn(
            (len(standardised), c), generator=self.generator, device=standardised.device
        )
        return torch.cat((standardised[:, :c] + noise * draws, standardised[:, c:]), dim=1)

    def _costs(self, standardised: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean length of the continuous changes, and mean cost of the categories (equation 5)."""
        layer, (continuous, categorical) = self.networks.layer, self.networks.costs
        change = (perturbed - standardised)[:, : layer.n_continuous] * continuous
        length = vector_norm(change, self.networks.norm, dim=1).mean()
        if not layer.group_sizes:
            return length, torch.zeros_like(length)
        changed = layer.changed(standardised, perturbed)
        total = (changed * categorical).sum(dim=1)
        if self.settings.max_categories is not None:
            excess = changed.sum(dim=1) - self.settings.max_categories
            total = total + _EXCESS_COST * relu(excess)
        return length, total.mean()

    def _labels(self, answers: Tensor) -> Tensor:
        """What the surrogate learns: probabilities (b, K), or classes (b,)."""
        return answers.to(torch.float32) if self.settings.soft_labels else answers.argmax(dim=1)
