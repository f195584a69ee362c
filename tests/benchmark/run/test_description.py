"""Whole runs, described in files and by flags."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import benchmark_toys as toys
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xai_adapters.benchmark.run.description import RunDescription
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import MissingDependencyError, XaiAdaptersError

TOML = """
task = "credit"
model = "mlp"
explainers = ["fimap_line_search", "wachter"]
limit = 20
block-size = 5
time_limit = 60
"""
YAML = """
# the same
task: credit
model: mlp
explainers:
  - fimap_line_search
  - wachter
limit: 20
block-size: 5
time_limit: 60
"""


@pytest.fixture(params=["run.toml", "run.yaml", "run.yml"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if not request.param.endswith("toml"):
        pytest.importorskip("yaml")
    path = tmp_path / request.param
    path.write_text(TOML if request.param.endswith("toml") else YAML)
    return path


def test_a_file_and_the_flags_that_go_before_it(path: Path) -> None:
    described = RunDescription.read(path).replaced({"limit": 3, "seed": None, "seeds": 2})
    assert described == RunDescription(
        task="credit", model="mlp", explainers=("fimap_line_search", "wachter"), limit=3, seeds=2,
        block_size=5, time_limit=60.0,
    )  # fmt: skip
    described.check()
    assert (described.seeds, described.block_size, described.threads) == (2, 5, 1)


def test_what_is_written_down_is_the_same_run(path: Path) -> None:
    described = RunDescription.read(path)
    assert RunDescription.parse(described.to_dict(), "a plan") == described


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "task": st.text(),
        "explainers": st.lists(st.text(), max_size=3).map(tuple),
        "counterfactuals": st.booleans(),
        "limit": st.integers(1),
        "mask_value": st.floats(allow_nan=False),
    },
)


@given(SETTINGS)
@example({"task": "no", "explainers": ("on", "1e3", "~")})
def test_whatever_is_set_a_yaml_file_says_it_too(settings: dict[str, Any]) -> None:
    yaml = pytest.importorskip("yaml")
    described = RunDescription.parse(settings, "flags")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_text(yaml.safe_dump(described.to_dict()))
        assert RunDescription.read(path) == described


MISTAKES = {
    "key": ("tsak = 'digits'", "Did you mean 'task'"),
    "type": ("task = 'digits'\nlimit = '3'", "limit in .* must be a whole number, is '3'"),
    "boolean": ("task = 'digits'\nlimit = true", "whole number"),
    "list": ("task = 'digits'\nexplainers = 'lime'", "must be a list of texts"),
    "toml": ("task = digits", r"run.toml': this is not TOML"),
    "task": ("task = 'digitz'", "Did you mean 'digits'"),
    "explainer": ("task = 'digits'\nexplainers = ['limee']", "Did you mean 'lime'"),
    "both": ("task = 'digits'\ndata = 'rows.npz'", "leave task or --data out"),
    "nothing": ("limit = 3", "name a task"),
    "model": ("model = 'forest'\ndata = 'rows.npz'", "--model module:attribute"),
    "threads": ("task = 'digits'\nthreads = 0", "threads in .* must be at least 1, is 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_any_work(name: str, tmp_path: Path) -> None:
    text, told = MISTAKES[name]
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(XaiAdaptersError, match=told):
        RunDescription.read(path).check()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task: [digits", r"run.yaml': this is not YAML: .* line 1"),
        ("", "holds no options"),
        ("- digits", "holds no options"),
        ("tsak: digits", "Did you mean 'task'"),
        ("1: digits", "unknown option in .* '1'"),
        ("task: digits\nlimit: many", "whole number, is 'many'"),
        ("task: !!python/object/apply:os.getcwd []", "this is not YAML"),
    ],
)
def test_mistakes_in_yaml(text: str, told: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(XaiAdaptersError, match=re.compile(told, re.DOTALL)):
        RunDescription.read(path)


def test_yaml_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "run.yaml"
    path.write_text(YAML)
    with pytest.raises(MissingDependencyError, match=r"yaml.*xai-adapters\[benchmark\]"):
        RunDescription.read(path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(XaiAdaptersError, match=r"a .toml, .yaml, .yml file; '.*run.json' is none"):
        RunDescription.read(tmp_path / "run.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(XaiAdaptersError, match=r"cannot read .*run\.toml"):
        RunDescription.read(tmp_path / "run.toml")


def test_a_task_of_ones_own_by_reference() -> None:
    task = RunDescription(task=f"{toys.MODULE}:task", limit=2, mask_value=0.0).load_task()
    assert isinstance(task, Task)
    assert (len(task.rows), task.mask_value) == (2, 0.0)
    with pytest.raises(XaiAdaptersError, match="returned a Bright, not a Task"):
        RunDescription(task=f"{toys.MODULE}:bright").load_task()
