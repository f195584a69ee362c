"""Saved explainers: what was saved is what is read, and nothing else is taken for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from xai_adapters import BlackBox, MinimalPerturbation
from xai_adapters.errors import InvalidInputError, NotFittedError
from xai_adapters.utils.persistence import (
    FORMAT_VERSION,
    SavedExplainerError,
    read_explainer,
    write_explainer,
)

ROWS = torch.randn(256, 3, generator=torch.Generator().manual_seed(0))


def three_labels(X):
    return ["low" if x < -0.5 else "high" if x > 0.5 else "middle" for x in X[:, 0]]


@pytest.fixture(scope="module")
def fitted():
    small = MinimalPerturbation(
        surrogate_widths=(16,), perturber_widths=(8, 8), epochs=3, penalty=0.05, seed=3
    )
    return small.fit(ROWS, three_labels)


@pytest.fixture
def saved(fitted, tmp_path: Path) -> Path:
    fitted.save(tmp_path / "fimap.safetensors")
    return tmp_path / "fimap.safetensors"


def test_a_loaded_explainer_explains_as_the_saved_one_did(fitted, saved: Path):
    loaded = MinimalPerturbation.load(saved)
    for target in (None, 0, 2):
        one, other = fitted.perturb(ROWS, target), loaded.perturb(ROWS, target)
        assert torch.equal(one.perturbation, other.perturbation)
        assert torch.equal(one.target, other.target)
    assert loaded.recovery_accuracy == fitted.recovery_accuracy
    assert loaded.n_classes == 3
    assert loaded.settings == fitted.settings
    assert list(saved.parent.iterdir()) == [saved]


def test_a_loaded_explainer_numbers_labels_as_fit_did(fitted, saved: Path):
    loaded = MinimalPerturbation.load(saved)
    row = ROWS[ROWS[:, 0] > 0.5][:1]
    one, other = (x.perturb(row, black_box=BlackBox(three_labels)) for x in (fitted, loaded))
    assert torch.equal(one.original_class, other.original_class)
    assert torch.equal(one.success, other.success)


def test_loading_needs_neither_data_nor_black_box_nor_this_process(fitted, saved: Path):
    program = (
        "import sys, json, torch; from xai_adapters import MinimalPerturbation;"
        "found = MinimalPerturbation.load(sys.argv[1]).perturb(torch.ones(1, 3));"
        "print(json.dumps(found.perturbation.tolist()))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(saved)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    expected = fitted.perturb(torch.ones(1, 3)).perturbation
    assert torch.allclose(torch.tensor(json.loads(ran.stdout)), expected, atol=1e-6)


def test_a_loaded_explainer_can_be_saved_again(saved: Path, tmp_path: Path):
    MinimalPerturbation.load(saved).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


NAMES = st.text(min_size=1, max_size=5)
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


@settings(max_examples=30)
@given(
    facts=st.dictionaries(NAMES, FACTS, max_size=3),
    shapes=st.dictionaries(NAMES, st.lists(st.integers(0, 3), max_size=3), max_size=3),
)
def test_arrays_and_facts_come_back(tmp_path_factory, facts, shapes):
    path = tmp_path_factory.mktemp("saved") / "file"
    tensors = {name: torch.rand(shape, dtype=torch.float64) for name, shape in shapes.items()}
    write_explainer(path, "Thing", tensors, facts)
    arrays, read = read_explainer(path, "Thing")
    assert read == facts
    assert arrays.keys() == tensors.keys()
    assert all(torch.equal(arrays[name], tensors[name]) for name in tensors)


# What earlier versions saved.

REMOVED = {"loss": "cross_entropy", "margin": 1.0, "flip_rate": None, "straight_through": True}


def as_format_1(saved: Path, **settings: object) -> None:
    """Turn a saved explainer into what format 1 wrote."""
    with safe_open(saved, framework="pt") as file:
        header = json.loads(file.metadata()["xai_adapters"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = header["facts"]
    facts["reading"] = facts.pop("output_type")
    facts["settings"] |= REMOVED | settings
    header = json.dumps({"kind": header["kind"], "version": 1, "facts": facts})
    save_file(tensors, saved, metadata={"xai_adapters": header})


def test_files_of_format_1_load(fitted, saved: Path):
    as_format_1(saved)
    loaded = MinimalPerturbation.load(saved)
    assert loaded.settings == fitted.settings
    assert loaded.history == fitted.history
    one, other = fitted.perturb(ROWS), loaded.perturb(ROWS)
    assert torch.equal(one.perturbation, other.perturbation)


@pytest.mark.parametrize(
    "setting",
    [{"loss": "margin"}, {"margin": 2.0}, {"flip_rate": 0.9}, {"straight_through": False}],
    ids=repr,
)
def test_an_option_that_no_longer_exists_is_named(setting, saved: Path):
    as_format_1(saved, **setting)
    ((name, value),) = setting.items()
    with pytest.raises(SavedExplainerError, match=f"saved with {name}={value!r}.*fit and save"):
        MinimalPerturbation.load(saved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.999])
def test_a_truncated_file_is_refused_wherever_it_was_cut(saved: Path, share: float):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SavedExplainerError, match="only a part"):
        MinimalPerturbation.load(saved)


def foreign(path: Path, header: object) -> None:
    save_file({"x": torch.zeros(1)}, path, metadata={"xai_adapters": json.dumps(header)})


REFUSED = {
    "text": (lambda path: path.write_text("hello " * 9), "not a saved explainer"),
    "other weights": (lambda path: save_file({"x": torch.zeros(1)}, path), "not saved by"),
    "another kind": (
        lambda path: write_explainer(path, "InvariantBox", {}, {}),
        "holds a InvariantBox, not a MinimalPerturbation",
    ),
    "a newer version": (
        lambda path: foreign(path, {"kind": "MinimalPerturbation", "version": FORMAT_VERSION + 1}),
        "upgrade",
    ),
    "a broken header": (lambda path: foreign(path, ["what"]), "not a saved explainer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_files_are_refused_with_what_they_are(name: str, tmp_path: Path):
    write, reason = REFUSED[name]
    write(tmp_path / "file")
    with pytest.raises(SavedExplainerError, match=reason):
        MinimalPerturbation.load(tmp_path / "file")


def test_a_missing_file_and_an_unfitted_explainer_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        MinimalPerturbation.load(tmp_path / "nowhere")
    with pytest.raises(NotFittedError, match="fit"):
        MinimalPerturbation().save(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_earlier_file(saved: Path):
    before = saved.read_bytes()
    with pytest.raises(InvalidInputError, match="text or numbers"):
        write_explainer(saved, "MinimalPerturbation", {}, {"classes": [object()]})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
