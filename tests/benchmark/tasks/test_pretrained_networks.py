from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from staged import needs, needs_animals

from xai_adapters.benchmark.tasks.datasets import data_file, imagenet_animals
from xai_adapters.benchmark.tasks.pretrained_networks import CifarResNet, MobileNet
from xai_adapters.errors import InvalidInputError


@needs("models/resnet20_cifar10.safetensors", "cifar10/test_first1000.npz")
def test_resnet_20_is_as_right_as_its_makers_say():
    network = CifarResNet.pretrained(data_file("models/resnet20_cifar10.safetensors"))
    data = np.load(data_file("cifar10/test_first1000.npz"), allow_pickle=False)
    images = torch.from_numpy(data["images"][:200]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        found = network(images).argmax(dim=1)
    # 91.5 % of all thousand; three standard deviations of a share of 200.
    assert (found.numpy() == data["labels"][:200]).mean() > 0.915 - 3 * 0.02


@needs_animals
@needs("models/mobilenet_v1_075_imagenet.safetensors")
def test_mobilenet_gives_the_reference_logits():
    network = MobileNet.pretrained(data_file("models/mobilenet_v1_075_imagenet.safetensors"))
    path = data_file("imagenet/animals/reference_predictions.csv")
    with path.open(newline="", encoding="utf-8") as file:
        wanted = {row["file"]: row for row in csv.DictReader(file)}
    with data_file("imagenet/animals/labels.csv").open(newline="", encoding="utf-8") as file:
        names = [row["file"] for row in csv.DictReader(file)][:4]
    with torch.no_grad():
        logits, classes = network(imagenet_animals().images[:4]).max(dim=1)
    assert classes.tolist() == [int(wanted[name]["mobilenet_v1_075_top1"]) for name in names]
    assert logits.tolist() == pytest.approx(
        [float(wanted[name]["mobilenet_v1_075_top1_logit"]) for name in names], abs=1e-2
    )


def test_other_weights_are_named(tmp_path):
    save_file({"conv1.weight": torch.zeros(24, 3, 3, 3)}, tmp_path / "some.safetensors")
    with pytest.raises(InvalidInputError, match="does not hold the weights of a MobileNet: conv1_"):
        MobileNet.pretrained(tmp_path / "some.safetensors")
