"""Other people's models and rows: what works, and what is said where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import benchmark_toys as toys
import numpy as np
import pytest
import torch

from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks import task_from_files, task_of
from xai_adapters.benchmark.tasks.from_files import model_of
from xai_adapters.errors import XaiAdaptersError

pytest.importorskip("pyarrow")

ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
NAMES = ("age", "income", "debt")


class Positive:
    """An estimator in miniature: class "yes" where income is positive."""

    classes_ = np.array(["no", "yes"])
    feature_names_in_ = np.array(NAMES)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        yes = (X[:, 1] > 0).astype(float)
        return np.stack((1 - yes, yes), axis=1)


POSITIVE = Positive()


def write(path: Path, **columns: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])


def columns(rows: np.ndarray = ROWS) -> dict[str, Any]:
    return dict(zip(NAMES, rows.T, strict=True))


def test_a_models_columns_are_taken_by_name_in_its_order(tmp_path: Path) -> None:
    shuffled = {"label": ["a"] * 8, **dict(reversed(columns().items()))}
    task = task_from_files("mine:POSITIVE", write(tmp_path / "rows.parquet", **shuffled), limit=5)
    assert task.feature_names == NAMES
    assert task.class_names == ("no", "yes")
    np.testing.assert_array_equal(task.rows.numpy(), ROWS[:5])
    np.testing.assert_array_equal(task.background.numpy(), ROWS[5:])
    results = run_benchmark(task, ["benchmark_toys:drawing"])
    assert [run.status for run in results.explainers] == ["ok"]


def test_images_from_npz_with_a_background_of_their_own(tmp_path: Path) -> None:
    toy = toys.task()
    arrays = {"rows": toy.rows.numpy(), "background": toy.background.numpy()}
    np.savez(tmp_path / "rows.npz", **arrays)
    task = task_from_files(f"{toys.MODULE}:bright", tmp_path / "rows.npz", mask_value=0.25)
    assert (task.kind, task.mask_value, len(task.rows)) == ("image", 0.25, toys.N_ROWS)
    assert torch.equal(task.background, toy.background)
    assert task.class_names == ("class 0", "class 1")
    assert not task.model.training


def spoiled(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[4, 2] = rows[6, 2] = value
    return rows


BAD_COLUMNS: dict[str, tuple[dict[str, Any], str]] = {
    "nan": (columns(spoiled(np.nan)), "2 of 8 rows, first in row 4, column debt"),
    "infinity": (columns(spoiled(np.inf)), "NaN or infinite values in .* first in row 4"),
    "nothing": (columns() | {"age": [None] * 8}, "row 0, column age"),
    "text": (columns() | {"age": ["old"] * 8}, "column 'age' .* does not hold numbers"),
    "missing": (dict(list(columns().items())[:2]), "lacks 1 of the model's 3 columns: debt"),
    "misspelt": (
        {"age": ROWS[:, 0], "incom": ROWS[:, 1], "debt": ROWS[:, 2]},
        "is 'incom' meant for 'income'",
    ),
    "no rows": (columns(ROWS[:0]), "at least one row"),
}
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "other names": ({"X": ROWS}, "no array named rows; it holds X"),
    "objects": ({"rows": np.array([{}], dtype=object)}, "cannot be read as .npz"),
}
NO_FILES = {
    "rows.parquet": ("age,income", "cannot be read as parquet"),
    "rows.npz": ("age,income", "cannot be read as .npz"),
    "rows.csv": ("age,income", "must be an .npz or a .parquet"),
    "none.npz": (None, "there is no file"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_bad_columns_are_told_with_what_is_wrong_and_where(name: str, tmp_path: Path) -> None:
    found, told = BAD_COLUMNS[name]
    with pytest.raises(XaiAdaptersError, match=told):
        task_from_files("mine:POSITIVE", write(tmp_path / "rows.parquet", **found))


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_are_told(name: str, tmp_path: Path) -> None:
    found, told = BAD_ARRAYS[name]
    np.savez(tmp_path / "rows.npz", **found)
    with pytest.raises(XaiAdaptersError, match=told):
        task_from_files("mine:POSITIVE", tmp_path / "rows.npz")


@pytest.mark.parametrize("name", NO_FILES)
def test_files_of_another_kind_are_told(name: str, tmp_path: Path) -> None:
    text, told = NO_FILES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(XaiAdaptersError, match=told):
        task_from_files("mine:POSITIVE", tmp_path / name)


def no_model() -> None:
    raise FileNotFoundError("weights.pt")


NUMBER = 3


class NeedsWeights:
    def __init__(self, weights: str) -> None:
        self.weights = weights


BAD_MODELS = {
    "module": ("nowhere:model", "No module named 'nowhere'"),
    "attribute": ("mine:POSITIV", "Did you mean 'POSITIVE'"),
    "no model": ("mine:NUMBER", "is a int"),
    "raises": ("mine:no_model", r"FileNotFoundError: weights.pt \(test_from_files.py, line \d+\)"),
    "class": ("mine:NeedsWeights", "made no model: TypeError: .*'weights'"),
    "form": (":POSITIVE", "module:attribute"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_bad_model_is_told_with_what_is_wrong(name: str) -> None:
    reference, told = BAD_MODELS[name]
    with pytest.raises(XaiAdaptersError, match=told):
        model_of(reference)


def says_one_class(X: np.ndarray) -> np.ndarray:
    return np.eye(2)[np.zeros(len(X), dtype=int)]


def test_a_function_of_rows_is_itself_a_model(tmp_path: Path) -> None:
    assert model_of("mine:says_one_class") is says_one_class
    assert isinstance(model_of(f"{toys.MODULE}:bright"), toys.Bright)


BROKEN = {
    "def (": r"SyntaxError: .*\(broken.py, line 2\)",
    "1 / 0": r"ZeroDivisionError: division by zero \(broken.py, line 2\)",
    "raise ValueError('no')": r"ValueError: no \(broken.py, line 2\)",
    "import no_such_module": "No module named 'no_such_module'",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_module_that_cannot_be_imported_is_told_with_the_line(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(f"# mine\n{code}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(XaiAdaptersError, match=f"cannot import 'broken:model': {BROKEN[code]}"):
        model_of("broken:model")


@pytest.mark.parametrize(
    ("rows", "settings", "told"),
    [
        (torch.rand(3), {}, r"shape \(3,\)"),
        (["a"], {}, "not numbers"),
        (2 * torch.rand(3, 1, 4, 4) + 1, {}, r"must lie in \[0, 1\]"),
        (ROWS, {"limit": 0}, "limit must be at least 1, is 0"),
        (ROWS, {"background": ROWS[:, :2]}, "do not go with"),
        (ROWS, {"class_names": ("a", "b", "c")}, "3 class names for a model with 2"),
    ],
)
def test_rows_that_cannot_be_used(rows: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(XaiAdaptersError, match=told):
        task_of(POSITIVE, rows, **settings)


def test_a_few_rows_serve_for_both() -> None:
    task = task_of(POSITIVE, ROWS)
    assert torch.equal(task.background, task.rows)
