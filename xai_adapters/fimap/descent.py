"""Gradient descent: Adam with a falling step size, and early stopping on validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from xai_adapters.fimap.objective import Measures
from xai_adapters.fimap.pool import Pool
from xai_adapters.fimap.settings import FittingSettings
from xai_adapters.utils.progress import progress


@dataclass(frozen=True)
class Moment:
    """How far a descent has come.

    Attributes:
        epoch: counted from 0.
        n_epochs: number of epochs.
        share: share of all steps that are done, in [0, 1).
    """

    epoch: int
    n_epochs: int
    share: float

    def between(self, first: float, last: float) -> float:
        """A value that goes linearly from the first epoch's to the last's."""
        return first + (last - first) * self.epoch / max(self.n_epochs - 1, 1)


def descend(
    network: nn.Module,
    n_rows: int,
    n_epochs: int,
    step: Callable[[Tensor, Moment], tuple[Tensor, Measures]],
    validation_loss: Callable[[Tensor, Tensor, Moment], Tensor],
    *,
    title: str,
    settings: FittingSettings,
    learning_rate: float,
    validation: Pool,
    generator: Generator,
) -> list[dict[str, float]]:
    """Fit a network, which is left in eval mode.

    Args:
        network: to be fitted.
        n_rows: rows it is fitted to.
        n_epochs: passes over them.
        step: gives the loss of the rows at positions (b,), and what else to record of them.
        validation_loss: gives the mean loss of encoded rows and their answers.
        title: what the progress bar calls it.
        settings: batch size, patience, and whether to show progress.
        learning_rate: Adam's first step size; it falls linearly to 0.
        validation: rows to measure the validation loss on; may be empty.
        generator: draws the order of the rows.

    Returns:
        For each epoch the mean over its rows of the loss and the other measures.
    """
    network.train()
    device = validation.rows.device
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, learning_rate, fused=True)
    size = settings.batch_size or min(max(n_rows // 50, 32), 160)
    n_steps = n_epochs * -(-n_rows // size)
    best, best_weights, n_worse, n_taken = torch.inf, None, 0, 0
    history: list[dict[str, float]] = []
    for epoch in progress(range(n_epochs), title, settings.show_progress):
        order = torch.randperm(n_rows, generator=generator, device=device)
        names: list[str] = []
        sums: Tensor | float = 0.0
        moment = Moment(epoch, n_epochs, n_taken / n_steps)
        for batch in order.split(size):
            moment = Moment(epoch, n_epochs, n_taken / n_steps)
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - moment.share)
            loss, measures = step(batch, moment)
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()
            n_taken += 1
            names = ["loss", *measures]
            # Weighted by rows, as the last batch may be a short one.
            sums = sums + torch.stack([loss, *measures.values()]).detach() * len(batch)
        assert isinstance(sums, Tensor)
        means = dict(zip(names, sums / n_rows, strict=True))
        if len(validation):
            network.eval()
            with torch.no_grad():
                losses = [validation_loss(*b, moment) * len(b[0]) for b in validation.blocks()]
                means["validation_loss"] = torch.stack(losses).sum() / len(validation)
            network.train()
        history.append({name: float(mean) for name, mean in means.items()})
        if settings.patience is None:
            continue
        if history[-1]["validation_loss"] < best:
            best, n_worse = history[-1]["validation_loss"], 0
            best_weights = copied_weights(network)
        else:
            n_worse += 1
            if n_worse == settings.patience:
                break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    network.eval()
    return history


def copied_weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights, to go back to."""
    return {name: weight.clone() for name, weight in network.state_dict().items()}
