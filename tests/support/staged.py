from __future__ import annotations

import pytest

from xai_adapters.benchmark.tasks.datasets import MissingDataError, data_file


def needs(*relative: str) -> pytest.MarkDecorator:
    """Skip a test where one of these data files is missing; the reason names it."""
    try:
        for name in relative:
            data_file(name)
    except MissingDataError as error:
        return pytest.mark.skipif(True, reason=str(error))
    return pytest.mark.skipif(False, reason="")


needs_mnist = needs(
    *(
        f"mnist/{stem}-ubyte.gz"
        for split in ("train", "t10k")
        for stem in (f"{split}-images-idx3", f"{split}-labels-idx1")
    )
)
needs_animals = needs(
    "imagenet/classes.csv",
    "imagenet/animals/labels.csv",
    "imagenet/animals/reference_predictions.csv",
    "models/squeezenet1_1_imagenet.safetensors",
)
