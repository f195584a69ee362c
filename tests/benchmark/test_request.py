"""Runs described by files and flags."""

from __future__ import annotations

from pathlib import Path

import benchmark_toys as toys
import pytest

from xai_adapters.benchmark.request import Request
from xai_adapters.benchmark.task import Task
from xai_adapters.errors import XaiAdaptersError

FILE = """
task = "credit"
model = "mlp"
explainers = ["fimap_check", "wachter"]
limit = 20
block-size = 5
time_limit = 60
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(FILE)
    return path


def test_a_file_and_the_flags_that_go_before_it(path: Path) -> None:
    request = Request.read(path).overridden({"limit": 3, "seed": None, "seeds": 2})
    assert request == Request(
        task="credit", model="mlp", explainers=("fimap_check", "wachter"), limit=3, seeds=2,
        block_size=5, time_limit=60.0,
    )  # fmt: skip
    settings = request.check()
    assert (settings.n_seeds, settings.block_size, settings.threads) == (2, 5, 1)


def test_what_is_written_down_is_the_same_request(path: Path) -> None:
    request = Request.read(path)
    assert Request.of(request.facts(), "a plan") == request


MISTAKES = {
    "key": ("tsak = 'digits'", "Did you mean 'task'"),
    "type": ("task = 'digits'\nlimit = '3'", "limit in .* must be a whole number; it is '3'"),
    "boolean": ("task = 'digits'\nlimit = true", "whole number"),
    "list": ("task = 'digits'\nexplainers = 'lime'", "must be a list of texts"),
    "toml": ("task = digits", "is not TOML"),
    "task": ("task = 'digitz'", "Did you mean 'digits'"),
    "explainer": ("task = 'digits'\nexplainers = ['limee']", "Did you mean 'lime'"),
    "both": ("task = 'digits'\ndata = 'rows.npz'", "leave task or --data out"),
    "nothing": ("limit = 3", "name a task"),
    "model": ("model = 'forest'\ndata = 'rows.npz'", "--model module:attribute"),
    "threads": ("task = 'digits'\nthreads = 0", "threads must be at least 1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_before_any_work(name: str, tmp_path: Path) -> None:
    text, told = MISTAKES[name]
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(XaiAdaptersError, match=told):
        Request.read(path).check()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(XaiAdaptersError, match=r"cannot read .*run\.toml"):
        Request.read(tmp_path / "run.toml")


def test_a_task_of_ones_own_by_reference() -> None:
    task = Request(task=f"{toys.MODULE}:task", limit=2, mask_value=0.0).load()
    assert isinstance(task, Task)
    assert (len(task.rows), task.mask_value) == (2, 0.0)
    with pytest.raises(XaiAdaptersError, match="returned a Bright, not a Task"):
        Request(task=f"{toys.MODULE}:bright").load()
