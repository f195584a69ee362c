"""A small network, and how the networks of the tasks are trained.

Every activation is a module of its own that is called once and never works in place: otherwise
explainers with hooks on activations (Captum's DeepLift, GuidedBackprop and LRP) are silently wrong.
LRP needs layers that it has a rule for, which excludes `nn.Flatten` and custom normalisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from xai_adapters.utils.progress import progress as with_progress

Network = TypeVar("Network", bound=nn.Module)


class SmallConvNet(nn.Module):
    """Two convolutions and two linear layers for small gray images.

    The convolutions step by two instead of being pooled: Captum's DeepLift (0.9) loses
    completeness at a maximum. With a kernel of four each inner pixel is in equally many windows,
    so that gradients show no checkerboard.

    Args:
        size: height and width of the images in pixels, at least 4.
        n_classes: number of logits.
    """

    def __init__(self, size: int, n_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(32 * (size // 4) ** 2, 64),
            nn.ReLU(),
            nn.Linear(64, n_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, n_classes), of images in [0, 1], (n, 1, size, size)."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


def train_small_conv_net(
    images: Tensor, labels: Tensor, *, n_classes: int = 10, **how: Any
) -> SmallConvNet:
    """Train a `SmallConvNet` on images (n, 1, size, size); the options are those of `trained`."""
    return trained(lambda: SmallConvNet(images.shape[-1], n_classes), images, labels, **how)


def trained(
    make: Callable[[], Network],
    rows: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Network:
    """Train a classifier with Adam and a linearly decreasing learning rate.

    The global random state is left as found.

    Args:
        make: makes the network, with weights drawn from torch's random state.
        rows: (n, ...) inputs.
        labels: (n,) int64 classes.
        epochs: passes over the rows.
        batch_size: rows a step.
        learning_rate: of the first step.
        seed: for the initial weights and the order of the rows.
        device: where to train.
        progress: show a bar.

    Returns:
        The network on `device`, in eval mode.
    """
    # fork_rng(devices=[]) and the CPU's own generator: `torch.manual_seed` would also reseed
    # every accelerator, whose state would then have to be saved and put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = make()
    network.to(device)
    rows, labels = rows.to(device), labels.to(device)
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(epochs)])
    batches = with_progress(order.to(device).split(batch_size), "training", progress)
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=-(-len(order) // batch_size)
    )
    for batch in batches:
        nn.functional.cross_entropy(network(rows[batch]), labels[batch]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, batch_size: int = 250) -> Tensor:
    """Outputs (n, n_classes) of a network, computed in batches on its device, on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(batch.to(device)).cpu() for batch in images.split(batch_size)])
