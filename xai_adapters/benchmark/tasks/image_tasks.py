"""Tasks on images."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.benchmark.tasks import datasets
from xai_adapters.benchmark.tasks.pretrained_networks import SqueezeNet
from xai_adapters.benchmark.tasks.registered import TaskSetup, register
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.benchmark.tasks.training import predict, train_small_conv_net
from xai_adapters.errors import require

DIGITS = tuple(str(digit) for digit in range(10))


@register("digits", "scikit-learn's 8 x 8 digits and a small convolutional network", limit=100)
def _digits(setup: TaskSetup) -> Task:
    data = require("sklearn.datasets", "benchmark").load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    labels = torch.from_numpy(data.target).long()
    order = _order(len(images), setup.seed)
    held_out, training = order[:360], order[360:]
    network = train_small_conv_net(
        images[training],
        labels[training],
        epochs=40,
        learning_rate=1e-2,
        seed=setup.seed,
        device=setup.device,
        progress=setup.progress,
    )
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=images[held_out],
        background=images[training],
        class_names=DIGITS,
        facts={"accuracy": _accuracy(predict(network, images[held_out]), labels[held_out])},
    )


@register("mnist", "MNIST's ten digits and a small convolutional network", limit=100)
def _mnist(setup: TaskSetup) -> Task:
    images, labels = datasets.mnist("train")
    held_out_images, held_out_labels = datasets.mnist("test")
    network = train_small_conv_net(
        images,
        labels,
        epochs=2,
        seed=setup.seed,
        device=setup.device,
        progress=setup.progress,
    )
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=held_out_images[_order(len(held_out_images), setup.seed)],
        # A sixth of the training images: enough to fit an explainer, at a sixth of the memory.
        background=images[_order(len(images), setup.seed)[:10_000]],
        class_names=DIGITS,
        facts={"accuracy": _accuracy(predict(network, held_out_images), held_out_labels)},
    )


@register("imagenet-animals", "100 ImageNet photographs of animals and SqueezeNet 1.1", limit=20)
def _imagenet_animals(setup: TaskSetup) -> Task:
    animals = datasets.imagenet_animals()
    path = datasets.data_file("models/squeezenet1_1_imagenet.safetensors")
    network = SqueezeNet.pretrained(path).to(setup.device)
    logits, classes = predict(network, animals.images, batch_size=20).max(1)
    # In the order of the file the first thirty are birds and the last forty-seven dogs.
    order = _order(len(animals.images), setup.seed)
    return Task(
        setup.name,
        setup.description,
        "image",
        network,
        rows=animals.images[order[:80]],
        # Always the same twenty, so that a row's explanation does not depend on the limit.
        background=animals.images[order[80:]],
        class_names=animals.class_names,
        facts={
            "accuracy": _share(classes == animals.labels),
            "agreement with the reference": _share(classes == animals.reference_classes),
            "largest difference from a reference logit": float(
                (logits - animals.reference_logits).abs().max()
            ),
        },
    )


def _order(n: int, seed: int) -> Tensor:
    """The indices 0 to n - 1 in random order; the global random state is not touched."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return _share(outputs.argmax(1) == labels)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
