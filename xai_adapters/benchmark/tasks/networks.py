"""The networks that are explained in the benchmark.

Every activation is a module of its own that is called once and never works in place: explainers
that put hooks on activations (Captum's DeepLift, GuidedBackprop and LRP) are silently wrong
otherwise. For LRP only layers are used that it has a rule for, which leaves out `nn.Flatten` and a
normalising layer of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.progress import progress as with_progress

Network = TypeVar("Network", bound=nn.Module)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 convolution to few channels, then 1x1 and 3x3 side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, 2 * expanded, h, w)."""
        squeezed = self.squeeze_activation(self.squeeze(inputs))
        return torch.cat(
            [
                self.expand1x1_activation(self.expand1x1(squeezed)),
                self.expand3x3_activation(self.expand3x3(squeezed)),
            ],
            dim=1,
        )


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360), with torchvision's parameter names.

    Its outputs are never negative: a ReLU precedes the last pooling.
    """

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(512, n_classes, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )

    @classmethod
    def pretrained(cls, path: Path) -> SqueezeNet:
        """The ImageNet classifier saved at `path` (safetensors), in eval mode.

        It takes RGB in [0, 1]: the normalisation is part of its first convolution.
        """
        network = cls()
        network.load_state_dict(load_file(path))
        first = network.features[0]
        assert isinstance(first, nn.Conv2d)
        fold_normalisation(first, IMAGENET_MEAN, IMAGENET_STD)
        return network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, n_classes), of images, (n, 3, h, w); trained on 224 x 224."""
        # In this memory format a processor's convolutions of photographs take half the time.
        images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.classifier(self.features(images)).flatten(1)
        return logits


@torch.no_grad()
def fold_normalisation(conv: nn.Conv2d, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change a convolution of (x - mean) / std into the same function of x.

    Args:
        conv: changed in place; it has a bias, one group and no padding (a padded zero is a zero
            after normalisation, which no change of the weights can say).
        mean: one for each input channel.
        std: one for each input channel.

    Raises:
        InvalidInputError: if the convolution has no bias, pads its input or has several groups.
    """
    if conv.bias is None or conv.padding != (0, 0) or conv.groups != 1:
        raise InvalidInputError(
            "a normalisation can only be folded into a convolution with a bias, "
            f"without padding and with one group, not into {conv}"
        )
    # In double precision, so that the only rounding is that of the result.
    scale = 1 / torch.tensor(std, dtype=torch.float64, device=conv.weight.device)
    weight = conv.weight.double() * scale[:, None, None]
    shift = weight.sum((2, 3)) @ torch.tensor(mean, dtype=torch.float64, device=scale.device)
    conv.weight.copy_(weight)
    conv.bias.copy_(conv.bias.double() - shift)


def train_small_conv_net(
    images: Tensor, labels: Tensor, *, n_classes: int = 10, **how: Any
) -> SmallConvNet:
    """Train a `SmallConvNet` of so many classes on images (n, 1, size, size), as `trained` does."""
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
    """Train a classifier with Adam and a learning rate that falls to zero.

    The global random state is left as found.

    Args:
        make: gives the network, its weights drawn from torch's random state.
        rows: (n, ...) what it is given.
        labels: (n,) int64 classes.
        epochs: passes over the rows.
        batch_size: rows a step.
        learning_rate: of the first step.
        seed: of the initial weights and of the order of the rows.
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
    """Outputs of a network, asked in batches on its own device: (n, n_classes), on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(batch.to(device)).cpu() for batch in images.split(batch_size)])
