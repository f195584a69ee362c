"""The two networks of FIMAP: the surrogate s of the black box and the perturber g."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn


class SeededDropout(nn.Module):
    """Dropout that draws from its own generator, so that fitting leaves the global one alone.

    One random byte decides for a unit: on a CPU that is sixteen times faster than a Bernoulli draw
    and takes a fifth off fitting. The probability is therefore rounded to a multiple of 1/256.

    Args:
        probability: the share of inputs set to zero while training.
        generator: where the draws come from.
    """

    def __init__(self, probability: float, generator: Generator) -> None:
        super().__init__()
        self.kept_bytes = round((1 - probability) * 256)
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        """Zero some inputs and scale the others up; all pass unchanged in eval mode."""
        if not self.training or self.kept_bytes == 256:
            return inputs
        words = torch.empty(inputs.numel() // 8 + 1, dtype=torch.int64, device=inputs.device)
        words.random_(-(2**63), None, generator=self.generator)
        draws = words.view(torch.uint8)[: inputs.numel()].view(inputs.shape)
        return inputs * (draws < self.kept_bytes).to(inputs.dtype).mul_(256 / self.kept_bytes)


def multilayer_perceptron(
    n_inputs: int,
    widths: Sequence[int],
    n_outputs: int,
    dropout: float,
    generator: Generator,
    device: torch.device,
) -> nn.Sequential:
    """Hidden layers of ReLU units with dropout, and a linear layer behind them.

    Args:
        n_inputs: columns of the input.
        widths: units of each hidden layer.
        n_outputs: columns of the output.
        dropout: probability with which a hidden unit is dropped while training.
        generator: draws the weights (He et al. 2015, as torch's own layers do) and the dropout.
        device: where the weights live; they are float32.
    """
    sizes = [n_inputs, *widths, n_outputs]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        # skip_init, since the constructor's own draws come from the global random state.
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out, device=device, dtype=torch.float32)
        bound = n_in**-0.5
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        layers += [linear, nn.ReLU(inplace=True), SeededDropout(dropout, generator)]
    return nn.Sequential(*layers[:-2])


class _Network(nn.Module):
    """What the two networks share: a perceptron that is fitted once and then frozen."""

    layers: nn.Sequential

    def freeze(self) -> None:
        """End fitting: no gradients for the weights, no dropout and so no generator to keep."""
        kept = [layer for layer in self.layers if not isinstance(layer, SeededDropout)]
        self.layers = nn.Sequential(*kept)
        self.eval().requires_grad_(False)


class Surrogate(_Network):
    """The differentiable stand-in s for the black box (FIMAP, equation 2).

    Args:
        n_columns: d, columns of a standardised row.
        n_classes: K.
        widths: units of the hidden layers.
        dropout: probability of dropping a hidden unit while training.
        generator: draws weights and dropout.
        device: where the weights live; they are float32.
    """

    def __init__(
        self,
        n_columns: int,
        n_classes: int,
        widths: Sequence[int],
        dropout: float,
        generator: Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.layers = multilayer_perceptron(
            n_columns, widths, n_classes, dropout, generator, device
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n, K) of standardised rows (n, d)."""
        logits: Tensor = self.layers(rows)
        return logits


class Perturber(_Network):
    """The network g that gives a row's perturbation towards a class (FIMAP, equation 3).

    The paper's g sees the row alone, as its two classes leave only one to reach. With K classes it
    must be told, so the target enters beside the row as a one-hot vector.

    Args: as for `Surrogate`.
    """

    def __init__(
        self,
        n_columns: int,
        n_classes: int,
        widths: Sequence[int],
        dropout: float,
        generator: Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.layers = multilayer_perceptron(
            n_columns + n_classes, widths, n_columns, dropout, generator, device
        )

    def forward(self, rows: Tensor, target: Tensor) -> Tensor:
        """Perturbations (n, d) that take standardised rows (n, d) to classes `target` (n,)."""
        told = nn.functional.one_hot(target, self.n_classes).to(rows.dtype)
        perturbation: Tensor = self.layers(torch.cat((rows, told), dim=1))
        return perturbation
