"""Counterfactuals of other people's tables: what their columns are taken for."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xai_adapters.benchmark.run.description import RunDescription
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.from_files import task_from_files
from xai_adapters.benchmark.tasks.from_table import FrameModel
from xai_adapters.benchmark.tasks.row_files import read_data
from xai_adapters.errors import InvalidInputError, UnknownNameError, XaiAdaptersError
from xai_adapters.features.inference import infer_schema
from xai_adapters.features.kinds import Categorical, Continuous

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

N = 60


def people() -> Any:
    draw = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "age": draw.integers(20, 60, N),
            "income": draw.normal(30.0, 5.0, N),
            "job": draw.choice(["cook", "clerk"], N),
            "owner": draw.random(N) > 0.5,
            "label": draw.integers(0, 2, N),
        }
    )


class Bank:
    """An estimator of DataFrames: granted where income is high, with less of it for clerks."""

    classes_ = np.array(["refused", "granted"])
    feature_names_in_ = np.array(["age", "income", "job", "owner"])

    def predict_proba(self, frame: Any) -> np.ndarray:
        assert list(frame) == list(self.feature_names_in_)
        assert frame["age"].dtype.kind == "i"
        assert set(frame["job"]) <= {"cook", "clerk"}
        granted = frame["income"] + 3.0 * (frame["job"] == "clerk") + frame["owner"] > 31
        return np.stack((~granted, granted), axis=1).astype(float)


BANK = Bank()


def encoded(rows: np.ndarray) -> np.ndarray:
    """A function of columns age, income, job_clerk, job_cook, owner."""
    granted = rows[:, 1] + 3 * rows[:, 2] + rows[:, 4] > 31
    return np.stack((~granted, granted), axis=1).astype(float)


def make_encoded() -> Any:
    return encoded


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bank", sys.modules[__name__])


def numbers() -> Any:
    frame = people()
    columns = {"age": frame.age, "income": frame.income}
    columns |= {f"job_{name}": (frame.job == name).astype(int) for name in ("clerk", "cook")}
    return pandas.DataFrame({**columns, "owner": frame.owner})


@pytest.mark.parametrize("form", ["text", "numbers"])
def test_counterfactuals_of_a_table_keep_to_what_its_columns_are(form: str, tmp_path: Path) -> None:
    frame = people() if form == "text" else numbers()
    frame.to_parquet(tmp_path / "rows.parquet")
    request = RunDescription(
        model="bank:BANK" if form == "text" else "bank:make_encoded",
        data=str(tmp_path / "rows.parquet"),
        counterfactuals=True, immutable=("age",),
        categories=() if form == "text" else ("job",), limit=10,
    )  # fmt: skip
    request.check()
    task = request.load_task()
    assert task.compares == "counterfactual"
    assert task.schema.names == ("age", "income", "job", "owner")
    age, income, job, owner = task.schema.features
    assert age == Continuous("age", 0, frame.age.min(), frame.age.max(), False, integer=True)
    assert income == Continuous("income", 1, frame.income.min(), frame.income.max())
    assert job == Categorical("job", ("clerk", "cook"), (2, 3))
    assert owner.categories == (False, True)
    assert (len(task.rows), len(task.background)) == (10, N - 10)
    results = run_benchmark(task, ["nearest_unlike", "growing_spheres"])
    assert [run.status for run in results.explainers] == ["ok", "ok"]
    for name in ("nearest_unlike", "growing_spheres"):
        assert results.measurement(name, "violations").value == 0
    assert results.measurement("growing_spheres", "validity").value == 1
    before, after = results.examples.before, results.examples.after["growing_spheres"]
    assert [row[0] for row in before] == [row[0] for row in after]
    assert {row[2] for row in before} == {"clerk", "cook"}


def test_a_model_of_data_frames_can_be_handed_to_other_processes(tmp_path: Path) -> None:
    people().to_parquet(tmp_path / "rows.parquet")
    task = task_from_files("bank:BANK", tmp_path / "rows.parquet", counterfactuals=True)
    assert task.class_names == ("refused", "granted")
    copied = pickle.loads(pickle.dumps(task.model))
    rows = task.rows.numpy()
    np.testing.assert_array_equal(copied.predict_proba(rows), task.model.predict_proba(rows))
    assert isinstance(copied, FrameModel)


def test_an_index_that_pandas_wrote_is_no_feature(tmp_path: Path) -> None:
    numbers().set_index(pandas.Index([f"p{i}" for i in range(N)])).to_parquet(
        tmp_path / "rows.parquet"
    )
    assert read_data(tmp_path / "rows.parquet").names == tuple(numbers())


def test_arrays_have_features_too(tmp_path: Path) -> None:
    rows = numbers().to_numpy(np.float32)
    np.savez(
        tmp_path / "rows.npz", rows=rows[:20], background=rows[20:], feature_names=[*numbers()]
    )
    task = task_from_files(
        "bank:make_encoded",
        tmp_path / "rows.npz",
        counterfactuals=True,
        categories=("job", "owner"),
    )
    assert [type(feature).__name__ for feature in task.schema.features] == [
        "Continuous", "Continuous", "Categorical", "Categorical"
    ]  # fmt: skip
    np.testing.assert_array_equal(task.rows.numpy(), rows[:20])
    np.testing.assert_array_equal(task.background.numpy(), rows[20:])


MISTAKES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "immutable": ({"immutable": ("agee",)}, UnknownNameError, "Did you mean 'age'"),
    "category": ({"categories": ("jobs",)}, UnknownNameError, "feature 'jobs'"),
    "no codes": ({"categories": ("income",)}, InvalidInputError, "income: row 0 holds"),
    "many": ({"categories": ("debt",)}, InvalidInputError, "debt holds 5000; a category held as"),
    "not one-hot": ({"categories": ("inc",)}, InvalidInputError, "inc: row 0 holds"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_columns_that_do_not_fit_are_named(name: str) -> None:
    settings, error, told = MISTAKES[name]
    frame = numbers().assign(debt=5000, inc_a=1, inc_b=1)
    with pytest.raises(error, match=told):
        infer_schema(frame, **settings)


def test_gaps_text_for_modules_and_images_are_told(tmp_path: Path) -> None:
    frame = numbers()
    frame.loc[4, "income"] = np.nan
    frame.to_parquet(tmp_path / "gaps.parquet")
    with pytest.raises(InvalidInputError, match=r"1 of 60 rows, first in row 4, column income"):
        task_from_files("bank:make_encoded", tmp_path / "gaps.parquet", counterfactuals=True)
    people().to_parquet(tmp_path / "text.parquet")
    with pytest.raises(InvalidInputError, match="module cannot be given text"):
        task_from_files("bank:MODULE", tmp_path / "text.parquet", counterfactuals=True)
    np.savez(tmp_path / "images.npz", rows=np.zeros((2, 1, 4, 4)))
    with pytest.raises(InvalidInputError, match=r"shape \(2, 1, 4, 4\); a table"):
        task_from_files("bank:make_encoded", tmp_path / "images.npz", counterfactuals=True)


MODULE = torch.nn.Linear(5, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "credit", "counterfactuals": True},
        {"model": "bank:BANK", "data": "rows.npz", "immutable": ("age",)},
        {"model": "bank:BANK", "data": "rows.npz", "counterfactuals": True,
         "explainers": ("saliency",)},
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_before_any_work(settings: dict[str, Any]) -> None:
    with pytest.raises(XaiAdaptersError, match=r"for a table of your own|saliency makes attrib"):
        RunDescription(**settings).check()
