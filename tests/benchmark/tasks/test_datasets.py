from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from staged import needs_animals, needs_mnist

from xai_adapters.benchmark.tasks import datasets
from xai_adapters.benchmark.tasks.datasets import MissingDataError, data_file, mnist, read_idx
from xai_adapters.errors import InvalidInputError, XaiAdaptersError


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def idx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "values.gz"


@given(
    array=hnp.arrays(
        np.uint8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0), elements=st.integers(0, 255)
    )
)
def test_an_idx_file_gives_back_what_was_written(array: np.ndarray, idx_file: Path) -> None:
    idx_file.write_bytes(gzip.compress(idx(array)))
    read = read_idx(idx_file)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


def test_a_side_longer_than_a_byte_is_read(idx_file: Path) -> None:
    array = np.arange(3 * 300, dtype=np.uint8).reshape(3, 300)
    idx_file.write_bytes(gzip.compress(idx(array)))
    np.testing.assert_array_equal(read_idx(idx_file), array)


WHOLE = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(WHOLE, "not a complete gzip file", id="not gzipped"),
        pytest.param(gzip.compress(WHOLE)[:-9], "not a complete gzip file", id="gzip cut"),
        pytest.param(
            gzip.compress(WHOLE)[:12] + b"?" * 20, "not a complete gzip file", id="gzip damaged"
        ),
        pytest.param(gzip.compress(b""), "not an idx file", id="empty"),
        pytest.param(
            gzip.compress(b"\0\0\x0d" + WHOLE[3:]), "not an idx file of unsigned bytes", id="floats"
        ),
        pytest.param(gzip.compress(WHOLE[:9]), "announces", id="header cut"),
        pytest.param(
            gzip.compress(WHOLE[:-1]), r"announces \(2, 3\) values but holds 5", id="too few"
        ),
        pytest.param(gzip.compress(WHOLE + b"\0"), "holds 7", id="too many"),
    ],
)
def test_a_damaged_idx_file_is_named(content: bytes, message: str, idx_file: Path) -> None:
    idx_file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message) as caught:
        read_idx(idx_file)
    assert str(idx_file) in str(caught.value)


def test_without_the_variable_the_error_names_the_file_and_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, "")
    message = r"a/b\.csv is needed, but XAI_ADAPTERS_DATA is not set; set it"
    with pytest.raises(MissingDataError, match=message):
        data_file("a/b.csv")
    monkeypatch.delenv(datasets.DATA_VARIABLE)
    with pytest.raises(MissingDataError, match=message):
        data_file("a/b.csv")


def test_a_missing_file_is_an_error_of_both_families(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"a\.csv does not exist.*XAI_ADAPTERS_DATA") as e:
        data_file("a.csv")
    assert isinstance(e.value, XaiAdaptersError)
    assert str(tmp_path) in str(e.value)
    (tmp_path / "a.csv").touch()
    assert data_file("a.csv") == tmp_path / "a.csv"


@pytest.mark.parametrize(("width", "height"), [(224, 224), (256, 341), (341, 256)])
def test_the_centre_of_an_image_is_cut_out(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    centre = datasets._centre("image.png", 224)
    assert centre.shape == (3, 224, 224)
    top, left = (height - 224) // 2, (width - 224) // 2
    for channel, y, x in [(0, 0, 0), (1, 17, 200), (2, 223, 223)]:
        assert centre[channel, y, x] == pytest.approx(pixels[top + y, left + x, channel] / 255)


@needs_mnist
@pytest.mark.parametrize(
    # The counts of threes and eights are published with the files.
    ("split", "n", "threes_and_eights"),
    [("train", 60_000, 11_982), ("test", 10_000, 1_984)],
)
def test_mnist(split: str, n: int, threes_and_eights: int) -> None:
    images, labels = mnist(split)
    assert images.shape == (n, 1, 28, 28)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (0, 1)
    assert labels.dtype == torch.int64
    assert torch.isin(labels, torch.tensor([3, 8])).sum() == threes_and_eights


@needs_animals
def test_imagenet_animals() -> None:
    animals = datasets.imagenet_animals()
    assert animals.images.shape == (100, 3, 224, 224)
    assert animals.images.dtype == torch.float32
    assert 0 <= animals.images.min() < animals.images.max() <= 1
    assert len(animals.labels.unique()) == 100
    assert len(animals.class_names) == 1000
    assert animals.class_names[int(animals.labels[0])] == "ostrich"
    assert animals.reference_classes.shape == animals.reference_logits.shape == (100,)
