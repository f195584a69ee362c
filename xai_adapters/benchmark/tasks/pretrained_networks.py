"""Networks that classify photographs, with published weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from xai_adapters.errors import InvalidInputError

Network = TypeVar("Network", bound=nn.Module)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut that has no weights (He et al.'s type A)."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.stride, self.new_channels = stride, planes - channels

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, h, w) to (n, planes, h / stride, w / stride)."""
        found = self.relu1(self.bn1(self.conv1(inputs)))
        shortcut = inputs[:, :, :: self.stride, :: self.stride]
        half = self.new_channels // 2
        shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, half, self.new_channels - half))
        outputs: Tensor = self.relu2(self.bn2(self.conv2(found)) + shortcut)
        return outputs


class CifarResNet(nn.Module):
    """He et al.'s residual network for 32 x 32 images (arXiv 1512.03385, section 4.2).

    Args:
        n_blocks: in each of the three stages: 3 for ResNet-20, 9 for ResNet-56.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        channels = 16
        for stage, planes in enumerate((16, 32, 64), start=1):
            blocks = []
            for number in range(n_blocks):
                blocks.append(_Block(channels, planes, 2 if stage > 1 and number == 0 else 1))
                channels = planes
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, 10)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    @classmethod
    def pretrained(cls, path: Path) -> CifarResNet:
        """The CIFAR-10 classifier saved at `path` (safetensors), in eval mode."""
        return _with_weights(cls(), path)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 10) of images in [0, 1], (n, 3, 32, 32)."""
        found = self.relu(self.bn1(self.conv1((images - self.mean) / self.std)))
        for stage in (1, 2, 3):
            found = self.get_submodule(f"layer{stage}")(found)
        logits: Tensor = self.linear(self.pool(found).flatten(1))
        return logits


# Channels that each pointwise convolution gives, and where its depthwise one halves the image.
_PLANES = (48, 96, 96, 192, 192, *(384,) * 6, 768, 768)
_HALVING = (2, 4, 6, 12)


class MobileNet(nn.Module):
    """MobileNet v1 of width 0.75 (Howard et al., arXiv 1704.04861), padded as TensorFlow does."""

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, stride=2, bias=False)
        self.conv1_bn = nn.BatchNorm2d(24, eps=1e-3)
        self.conv1_relu = nn.ReLU6()
        channels = 24
        for number, planes in enumerate(_PLANES, start=1):
            halving = number in _HALVING
            depthwise = nn.Conv2d(
                channels, channels, 3, 2 if halving else 1, 0 if halving else 1,
                groups=channels, bias=False,
            )  # fmt: skip
            pointwise = nn.Conv2d(channels, planes, 1, bias=False)
            for name, conv in (("dw", depthwise), ("pw", pointwise)):
                self.add_module(f"conv_{name}_{number}", conv)
                norm = nn.BatchNorm2d(conv.out_channels, eps=1e-3)
                self.add_module(f"conv_{name}_{number}_bn", norm)
                self.add_module(f"conv_{name}_{number}_relu", nn.ReLU6())
            channels = planes
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv_preds = nn.Conv2d(channels, n_classes, 1)

    @classmethod
    def pretrained(cls, path: Path) -> MobileNet:
        """The ImageNet classifier saved at `path` (safetensors), in eval mode."""
        return _with_weights(cls(), path)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, n_classes) of images in [0, 1], (n, 3, 224, 224)."""
        found = self._layer("conv1", 2 * images - 1, halving=True)
        for number in range(1, len(_PLANES) + 1):
            found = self._layer(f"conv_dw_{number}", found, halving=number in _HALVING)
            found = self._layer(f"conv_pw_{number}", found)
        logits: Tensor = self.conv_preds(self.pool(found)).flatten(1)
        return logits

    def _layer(self, name: str, inputs: Tensor, *, halving: bool = False) -> Tensor:
        if halving:
            inputs = nn.functional.pad(inputs, (0, 1, 0, 1))
        found = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(inputs))
        activated: Tensor = self.get_submodule(f"{name}_relu")(found)
        return activated


def _with_weights(network: Network, path: Path) -> Network:
    missing, unexpected = network.load_state_dict(load_file(path), strict=False)
    # How many batches a normalisation has seen is of no use to a trained network.
    wrong = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if wrong:
        raise InvalidInputError(
            f"{path} does not hold the weights of a {type(network).__name__}: "
            f"{', '.join(wrong[:3])}"
        )
    return network.eval()
