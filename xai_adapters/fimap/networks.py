"""The two networks of FIMAP: the surrogate s of the black box and the perturber g."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import linear


class SeededDropout:
    """Dropout that draws from its own generator, so that fitting leaves the global one alone.

    One random byte decides for a unit: on a CPU that is sixteen times faster than a Bernoulli draw
    and takes a fifth off fitting. The probability is therefore rounded to a multiple of 1/256.

    Args:
        probability: the share of units set to zero.
        generator: where the draws come from.
    """

    def __init__(self, probability: float, generator: Generator) -> None:
        self.kept_bytes = round((1 - probability) * 256)
        self.generator = generator

    def mask(self, n_rows: int, n_units: int) -> Tensor:
        """What units are to be multiplied by: (n_rows, n_units) of 0 and 256 / kept_bytes."""
        n = n_rows * n_units
        words = torch.empty(n // 8 + 1, dtype=torch.int64, device=self.generator.device)
        draws = words.random_(-(2**63), None, generator=self.generator).view(torch.uint8)[:n]
        # Arithmetic in place of a comparison, which costs three times as much: bytes below
        # kept_bytes become the factor, others 0.
        factor = 256 / self.kept_bytes
        mask = draws.to(torch.float32).sub_(self.kept_bytes - 0.5).mul_(-2 * factor)
        return mask.clamp_(0, factor).view(n_rows, n_units)


class _Network(nn.Module):
    """A perceptron that is fitted once and then frozen: ReLU units with dropout between layers.

    Args:
        n_inputs: columns of the input.
        widths: units of each hidden layer.
        n_outputs: columns of the output.
        dropout: probability with which a hidden unit is dropped while training.
        generator: draws the weights (He et al. 2015, as torch's own layers do) and the dropout.
        device: where the weights live; they are float32.
    """

    def __init__(
        self,
        n_inputs: int,
        widths: Sequence[int],
        n_outputs: int,
        dropout: float,
        generator: Generator,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.dropout = SeededDropout(dropout, generator) if dropout and widths else None
        self.layers = nn.ModuleList()
        # Their parameters once more: a module's own machinery costs more than a row's products.
        self._affine: list[tuple[Tensor, Tensor]] = []
        for n_in, n_out in pairwise([n_inputs, *widths, n_outputs]):
            # skip_init, since the constructor's own draws come from the global random state.
            layer: Any = nn.utils.skip_init(
                nn.Linear, n_in, n_out, device=device, dtype=torch.float32
            )
            bound = n_in**-0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            self.layers.append(layer)
            self._affine.append((layer.weight, layer.bias))

    def freeze(self) -> None:
        """End fitting: no gradients for the weights, no dropout and so no generator to keep."""
        self.dropout = None
        self.eval().requires_grad_(False)

    def _through_layers(self, values: Tensor) -> Tensor:
        masks: Sequence[Tensor | None] = [None] * len(self.widths)
        if self.training and self.dropout:
            # For all layers at once: each draw has a price of its own.
            masks = self.dropout.mask(len(values), sum(self.widths)).split(self.widths, dim=1)
        for affine, mask in zip(self._affine, masks, strict=False):
            values = linear(values, *affine).relu_()
            if mask is not None:
                values = values * mask
        return linear(values, *self._affine[-1])


class Surrogate(_Network):
    """The differentiable stand-in s for the black box (FIMAP, equation 2).

    Args:
        n_columns: e, columns of a standardised encoded row.
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
        super().__init__(n_columns, widths, n_classes, dropout, generator, device)

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (n, K) of standardised rows (n, e)."""
        return self._through_layers(rows)


class Perturber(_Network):
    """The network g that gives the perturbation with which a row reaches a class (equation 3).

    The paper's g sees only the row, as with two classes there is only one to reach. With K classes
    it needs the target too, which enters beside the row as a one-hot vector. Its outputs are what
    `PartialGumbel` takes: changes of numbers, log-probabilities of categories.

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
        super().__init__(n_columns + n_classes, widths, n_columns, dropout, generator, device)
        self.n_classes = n_classes
        self._one_hot = torch.eye(n_classes, device=device)

    def forward(self, rows: Tensor, target: Tensor) -> Tensor:
        """Outputs (n, e) for standardised rows (n, e) that are to reach classes `target` (n,)."""
        one_hot = self._one_hot.index_select(0, target)
        return self._through_layers(torch.cat((rows, one_hot), dim=1))
