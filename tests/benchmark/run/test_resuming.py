"""Runs that are interrupted, killed, resumed, or spread over processes give the same numbers."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmark_toys as toys
import pytest
import torch
from waiting import wait_for

from xai_adapters.benchmark.results import files as output
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run import runner
from xai_adapters.benchmark.run.blocks import BlockStore
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.errors import InvalidInputError, PredictorError, ResultsFolderError
from xai_adapters.registry import ExplainerEntry, FunctionExplainer
from xai_adapters.utils import tensor_file
from xai_adapters.utils.files import replace_file

pytest.importorskip("pyarrow")


def surer() -> toys.Bright:
    """The model of the task, trained a little further."""
    model = toys.Bright()
    with torch.no_grad():
        model.scale *= 1.01
    return model.eval()


SEEDS = {"seed": 3, "seeds": 2}
# Of each of the two seeds: blocks of the three explainers, and rows alone of the last two.
N_BLOCKS = 2 * (toys.N_ROWS + 4 + 1 + 2)


def numbers(results: Results) -> dict[str, Any]:
    """Everything but seconds."""
    gallery = results.gallery
    return {
        "rows": results.rows,
        "measurements": results.measurements,
        "curves": results.curves,
        "maps": {name: maps.tolist() for name, maps in gallery.maps.items()},
        "runs": [(run.name, run.status, run.reason, run.n_rows) for run in results.explainers],
        "asked": [
            {name: cost for name, cost in run.costs.items() if "quer" in name}
            for run in results.explainers
        ],
    }


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, Any]:
    return numbers(run_benchmark(toys.task(), toys.EXPLAINERS, **SEEDS))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    path = tmp_path / "log"
    monkeypatch.setenv("TOYS_LOG", str(path))
    return lambda: path.read_text().splitlines() if path.exists() else []


@contextlib.contextmanager
def interrupted_at(save: int, *, before: bool) -> Iterator[None]:
    """A Ctrl-C at the given save of a block, just before or just after it."""
    really, count = BlockStore.save, iter(range(10_000))

    def interrupting(*arguments: Any) -> None:
        now = next(count) == save
        if now and before:
            raise KeyboardInterrupt
        really(*arguments)
        if now:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockStore, "save", interrupting)
        yield


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are not what is tested here, and take most of the time."""
    monkeypatch.setattr(runner, "render", lambda results: "a report")


def calls(log: list[str]) -> int:
    return sum(not line.startswith("made") for line in log)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("before", [True, False])
def test_interrupted_anywhere_and_resumed_nothing_differs_and_nothing_is_done_twice(
    before: bool, uninterrupted: dict[str, Any], tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    run_benchmark(toys.task(), toys.EXPLAINERS, **SEEDS)
    needed = calls(log())
    for save in range(before, N_BLOCKS, 2):
        folder, asked = tmp_path / f"run-{save}", calls(log())
        with interrupted_at(save, before=before), pytest.raises(KeyboardInterrupt):
            run_benchmark(toys.task(), toys.EXPLAINERS, folder=folder, **SEEDS)
        assert len(list(folder.rglob("*.safetensors"))) == save + (not before)
        results = run_benchmark(toys.task(), toys.EXPLAINERS, folder=folder, resume=True, **SEEDS)
        assert numbers(results) == uninterrupted
        # What was about to be saved is lost: a block, or the rows that were asked about alone.
        lost = calls(log()) - asked - needed
        assert lost in ((1, toys.N_ROWS) if before else (0,))
        assert sorted(path.name for path in folder.iterdir()) == [
            "gallery.safetensors", "report.html", "results.json", "rows.parquet"
        ]  # fmt: skip


def test_processes_give_the_same_numbers_and_one_that_dies_takes_no_other_with_it(
    uninterrupted: dict[str, Any],
) -> None:
    every = [*toys.EXPLAINERS, f"{toys.MODULE}:deadly"]
    results = run_benchmark(toys.task(), every, jobs=2, **SEEDS)
    found = numbers(results)
    assert found["runs"].pop()[1] == "error"
    reason = f"its process ended with exit code 7 (rows 0 to {toys.N_ROWS - 1}) (seed 3)"
    assert results.explainers[-1].reason == reason
    found["asked"].pop()
    assert found == uninterrupted


def test_one_that_hangs_is_ended_and_the_others_go_on() -> None:
    names = [toys.EXPLAINERS[2], f"{toys.MODULE}:stuck", f"{toys.MODULE}:never_made"]
    results = run_benchmark(toys.task(), names, jobs=3, time_limit=20, fit_limit=20)
    whole, stuck, never_made = results.explainers
    assert (whole.status, whole.n_rows, whole.reason) == ("ok", toys.N_ROWS, "")
    assert (stuck.status, stuck.n_rows) == ("ok", 4)
    assert stuck.reason == (
        "took longer than 20 s to explain rows 4 to 5, and was ended; 4 of 7 rows are explained"
    )
    assert results.measurement("stuck", "masking_area").n == 4
    assert (never_made.status, never_made.n_rows) == ("error", 0)
    assert never_made.reason == "took longer than 20 s to fit, and was ended"


def test_rows_and_seeds_have_random_numbers_of_their_own() -> None:
    def drawing(subject: Any) -> Any:
        drawn.append((torch.rand(()).item(), subject.seed))
        return FunctionExplainer(lambda rows, target: torch.rand(rows.shape))

    drawn: list[tuple[float, int]] = []
    entries = [ExplainerEntry(name, "", drawing, block_size=1) for name in ("a", "b")]
    results = run_benchmark(toys.task(), entries, seeds=2)
    assert len(set(drawn)) == 4
    maps = torch.cat([results.gallery.maps[name] for name in ("a", "b")]).flatten(1)
    assert len(set(map(tuple, maps.tolist()))) == 2 * toys.N_ROWS


def test_a_model_that_cannot_be_handed_to_processes_is_refused(tmp_path: Path) -> None:
    local = replace(toys.task(), model=type("Local", (toys.Bright,), {})())
    with pytest.raises(InvalidInputError, match="run without jobs"):
        run_benchmark(local, toys.EXPLAINERS, jobs=2)


def test_a_script_that_processes_cannot_import_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    unguarded = SCRIPT.replace("if __name__", "if True or __name__").replace(
        "folder=", "jobs=2, folder="
    )
    script.write_text(unguarded)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "run"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert "InvalidInputError: a process ended before it began to work" in done.stderr


def test_each_explainer_is_made_once_a_seed(log: Callable[[], list[str]]) -> None:
    run_benchmark(toys.task(), toys.EXPLAINERS, **SEEDS)
    assert sum(line.startswith("made") for line in log()) == len(toys.EXPLAINERS) * 2


def test_blocks_of_another_size_change_nothing_where_nothing_is_drawn() -> None:
    names = toys.EXPLAINERS[1:]
    whole = numbers(run_benchmark(toys.task(), names))
    blocks = run_benchmark(toys.task(), names, block_size=3)
    found = numbers(blocks)
    assert {**found, "asked": None} == {**whole, "asked": None}


def test_no_metric_depends_on_the_size_of_the_blocks() -> None:
    pytest.importorskip("captum")
    measured = ("masking", "deletion", "sparseness", "faithfulness", "infidelity")
    asked = {"metrics": (*measured, "max_sensitivity", "randomization"), "fills": ("blur",)}
    whole, blocks = (
        run_benchmark(toys.task(), toys.EXPLAINERS[2:], block_size=size, **asked).rows
        for size in (None, 2)
    )
    assert len(whole) == len(blocks)
    values = {(each["metric"], each["row"], each["threshold"]): each["value"] for each in blocks}
    for each in whole:
        place = each["metric"], each["row"], each["threshold"]
        assert values[place] == pytest.approx(each["value"], abs=1e-5), place


SCRIPT = f"""
import sys
sys.path.insert(0, {str(Path(toys.__file__).parent)!r})
from pathlib import Path
import benchmark_toys as toys
from xai_adapters.benchmark.run.runner import run_benchmark

if __name__ == "__main__":
    every = [*toys.EXPLAINERS, "{toys.MODULE}:endless"]
    run_benchmark(toys.task(), every, folder=Path(sys.argv[1]))
"""


@pytest.mark.usefixtures("no_report")
def test_killed_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    every = [*toys.EXPLAINERS, f"{toys.MODULE}:endless"]
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, script, folder])
    try:
        last = "*all_at_once/*row-by-row.safetensors"
        wait_for(lambda: list((folder / "unfinished").glob(last)), process)
        with pytest.raises(ResultsFolderError, match=f"process {process.pid} on .* works in"):
            run_benchmark(toys.task(), every, folder=folder, resume=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(folder.rglob("*.safetensors"))) >= toys.N_ROWS + 4 + 1 + 2
    toys.let_end()
    with (
        pytest.warns(UserWarning, match=f"process {process.pid} .* taken over"),
        pytest.raises(ResultsFolderError, match="holds an unfinished run"),
    ):
        run_benchmark(toys.task(), every, folder=folder)
    results = run_benchmark(toys.task(), every, folder=folder, resume=True)
    assert numbers(results) == numbers(run_benchmark(toys.task(), every))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed (0, now 1)"),
        ({"seeds": 2}, "seeds (1, now 2)"),
        ({"task": replace(toys.task(), rows=toys.task().rows + 0.01)}, "other rows"),
        ({"explainers": toys.EXPLAINERS[:1]}, "explainers"),
        # Rows and their classes are the same, and the model is a little surer of them.
        ({"task": replace(toys.task(), model=surer())}, "other the model's answers"),
    ],
)
def test_another_run_is_not_resumed(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    with interrupted_at(2, before=True), pytest.raises(KeyboardInterrupt):
        run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path)
    given = {"task": toys.task(), "explainers": toys.EXPLAINERS, **change}
    with pytest.raises(ResultsFolderError, match=re.escape(told)):
        run_benchmark(**given, folder=tmp_path, resume=True)


@pytest.mark.usefixtures("no_report")
def test_a_damaged_block_is_done_again(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    with interrupted_at(5, before=True), pytest.raises(KeyboardInterrupt):
        run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, **SEEDS)
    first, second, *_ = sorted(tmp_path.rglob("*.safetensors"))
    first.write_bytes(first.read_bytes()[:50])
    second.write_text("not a block")
    results = run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, resume=True, **SEEDS)
    assert numbers(results) == uninterrupted


@pytest.mark.usefixtures("no_report")
def test_an_interrupted_run_may_be_given_more_time(tmp_path: Path) -> None:
    with interrupted_at(2, before=True), pytest.raises(KeyboardInterrupt):
        run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, time_limit=1e-9)
    results = run_benchmark(
        toys.task(), toys.EXPLAINERS, folder=tmp_path, resume=True, time_limit=60, fit_limit=60
    )
    assert [run.n_rows for run in results.explainers] == [toys.N_ROWS] * 3
    assert (results.settings["time_limit"], results.settings["fit_limit"]) == (60, 60)


def test_a_damaged_plan_is_said_to_be_damaged(tmp_path: Path) -> None:
    with interrupted_at(2, before=True), pytest.raises(KeyboardInterrupt):
        run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path)
    (tmp_path / "unfinished" / "plan.json").write_text("{")
    with pytest.raises(ResultsFolderError, match=r"plan.json' is damaged .* remove"):
        run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, resume=True)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("full_at", ["a block", "the results"])
def test_a_full_disk_keeps_what_is_finished(
    full_at: str, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    def full(path: Path, write: Any) -> None:
        # As many blocks as are named have room; of the results the second file has none.
        n_written = len(list(tmp_path.rglob("*.safetensors")))
        if (n_written == 4) if full_at == "a block" else path.name == "results.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace_file(path, write)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_file, "replace_file", full)
        patch.setattr(output, "replace_file", full)
        with pytest.raises(ResultsFolderError, match=r"No space left on device\. .* kept; make"):
            run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, **SEEDS)
    assert not (tmp_path / "results.json").exists()
    n_finished = len(list((tmp_path / "unfinished").rglob("*.safetensors")))
    assert n_finished == (4 if full_at == "a block" else N_BLOCKS)
    results = run_benchmark(toys.task(), toys.EXPLAINERS, folder=tmp_path, resume=True, **SEEDS)
    assert numbers(results) == uninterrupted


@pytest.mark.usefixtures("no_report")
def test_whichever_file_the_system_refuses_to_write_what_is_finished_is_kept(
    tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    results, refused, n_finished = None, [], 0
    for exponent in range(5, 30):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**exponent, before[1]))
        try:
            results = run_benchmark(
                toys.task(), toys.EXPLAINERS, folder=tmp_path, resume=True, **SEEDS
            )
            break
        except ResultsFolderError as error:
            refused.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        n_now = len(list((tmp_path / "unfinished").rglob("*.safetensors")))
        assert n_now >= n_finished
        n_finished = n_now
    assert all("File too large" in each and "make room" in each for each in refused)
    for file in ("cannot write to folder", "safetensors cannot be written", "results.json'"):
        assert any(file in each for each in refused)
    assert results is not None
    assert numbers(results) == uninterrupted


def test_a_model_that_raises_on_a_row_is_told_with_the_row() -> None:
    dark = toys.task()
    dark.rows[4] = 0

    class Raising(toys.Bright):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if (images == 0).flatten(1).all(dim=1).any():
                raise ValueError("an image is black")
            return super().forward(images)

    with pytest.raises(
        PredictorError, match=r"row 4: ValueError: an image is black.* leave out the row"
    ):
        run_benchmark(replace(dark, model=Raising().eval()), toys.EXPLAINERS)


def test_one_that_fails_on_a_row_is_not_compared_but_its_other_rows_are_kept() -> None:
    def touchy(subject: Any) -> Any:
        def explain(rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            if (rows == task.rows[4]).flatten(1).all(dim=1).any():
                raise ZeroDivisionError("division by zero")
            return rows

        return FunctionExplainer(explain)

    task = toys.task()
    entry = ExplainerEntry("touchy", "", touchy, block_size=2)
    results = run_benchmark(task, [entry])
    (run,) = results.explainers
    assert (run.status, run.n_rows) == ("error", 4)
    assert "ZeroDivisionError: division by zero (rows 4 to 5)" in run.reason
    assert results.measurements == results.curves == []
    assert {line["row"] for line in results.rows} == {0, 1, 2, 3}


def test_one_that_fails_with_its_second_seed_is_not_compared_with_its_first() -> None:
    def unlucky(subject: Any) -> Any:
        def explain(rows: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            if subject.seed == 1 and rows[0].equal(task.rows[2]):
                raise RuntimeError("bad luck")
            return rows

        return FunctionExplainer(explain)

    task = toys.task()
    entry = ExplainerEntry("unlucky", "", unlucky, block_size=2)
    (run,) = run_benchmark(task, [entry], seeds=2).explainers
    assert (run.status, run.n_rows) == ("error", 2)
    assert run.reason == "RuntimeError: bad luck (rows 2 to 3) (seed 1)"


def test_one_that_hangs_with_its_second_seed_is_an_error_and_its_firsts_rows_are_kept() -> None:
    name = f"{toys.MODULE}:hanging_with_seed_1"
    results = run_benchmark(toys.task(), [name], seeds=2, jobs=1, time_limit=10)
    (run,) = results.explainers
    assert (run.status, run.n_rows) == ("error", toys.N_ROWS)
    assert run.reason == "took longer than 10 s to explain rows 0 to 6, and was ended (seed 1)"
    assert results.measurements == []
    assert {line["row"] for line in results.rows} == set(range(toys.N_ROWS))


@pytest.mark.usefixtures("no_report")
def test_the_first_block_is_done_however_late_it_is(tmp_path: Path) -> None:
    with interrupted_at(2, before=False), pytest.raises(KeyboardInterrupt):
        run_benchmark(toys.task(), toys.EXPLAINERS[1:2], folder=tmp_path)
    first = min((tmp_path / "unfinished").rglob("*.safetensors"))
    first.write_text("damaged")
    (run,) = run_benchmark(
        toys.task(), toys.EXPLAINERS[1:2], folder=tmp_path, resume=True, time_limit=1e-9
    ).explainers
    assert (run.status, run.n_rows) == ("ok", 6)
    assert run.reason == "stopped after 1e-09 s; 6 of 7 rows are explained"
