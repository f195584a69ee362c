"""The command line: whole runs in a process of their own, mistakes in this one."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import benchmark_toys
import numpy as np
import pytest
from waiting import wait_for

pytest.importorskip("typer")
pytest.importorskip("sklearn")
pytest.importorskip("captum")

from xai_adapters.cli import main

COMMAND = [sys.executable, "-m", "xai_adapters"]


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    environment.pop("XAI_ADAPTERS_DATA", None)
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, cwd=cwd, env=environment
    )


def test_a_small_run_prints_its_table_and_writes_its_files(tmp_path: Path):
    ran = call(
        "benchmark", "digits", "--limit", "3", "--explainers", "saliency, random,deep_lift",
        "--mask-value", "0.25",
        cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for name in ("saliency", "random", "deep_lift", "masking area"):
        assert name in ran.stdout
    assert ran.stdout.splitlines()[-1] == f"report: {tmp_path}/xai-results/digits/report.html"
    folder = tmp_path / "xai-results" / "digits"
    read = json.loads((folder / "results.json").read_text())
    assert [run["status"] for run in read["explainers"]] == ["ok"] * 3
    assert (read["task"]["n_rows"], read["task"]["mask_value"]) == (3, 0.25)
    assert sorted(path.name for path in folder.iterdir()) == [
        "gallery.safetensors", "report.html", "results.json", "rows.parquet"
    ]  # fmt: skip


def test_moons_prints_limes_and_fimaps_seconds_side_by_side(tmp_path: Path):
    ran = call(
        "benchmark", "moons", "--limit", "5", "--explainers", "fimap,lime_tabular,saliency",
        "--out", "out", cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    for name in ("fimap", "lime_tabular"):
        (line,) = [line for line in ran.stdout.splitlines() if line.strip().startswith(name)]
        assert len(re.findall(r"[\d.]+ (?:µs|ms|s)\b", line)) >= 2
    reason = " ".join(ran.stdout.split("not applicable: ")[1].split())
    assert reason.startswith("saliency (needs gradients, which only torch modules have)")


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with a task and explainers, that processes find."""
    monkeypatch.setenv("PYTHONPATH", str(Path(benchmark_toys.__file__).parent), os.pathsep)
    return benchmark_toys.MODULE


def test_after_a_ctrl_c_a_run_can_be_resumed(called: Any, toys: str, tmp_path: Path):
    explainers = ",".join(f"{toys}:{name}" for name in ("one_by_one", "all_at_once", "endless"))
    command = ["benchmark", f"{toys}:task", "--explainers", explainers, "--out", "out"]
    # A shell that runs these tests in the background may have SIGINT ignored.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    main = "from xai_adapters.cli import main; main()"
    run = subprocess.Popen(
        [sys.executable, "-c", heeding + main, *command, "--jobs", "2"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    unfinished = tmp_path / "out" / "unfinished"
    # All blocks but those of the one that never ends.
    wait_for(lambda: len(list(unfinished.rglob("*.safetensors"))) >= 9, run)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    # As from a terminal, all processes get the signal.
    os.killpg(run.pid, signal.SIGINT)
    _, complaint = run.communicate(timeout=900)
    assert run.returncode == 130
    assert "Traceback" not in complaint
    assert complaint.splitlines()[-1] == (
        "interrupted; resume with: xai-adapters benchmark --resume out"
    )
    # Python's resource tracker ends a moment after the others.
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

    benchmark_toys.let_end()
    code, _, complaint = called(*command)
    assert code == 2
    assert "holds an unfinished run; resume it (--resume)" in complaint
    code, _, complaint = called("benchmark", "--resume", "out", "--limit", "3")
    assert code == 2
    assert "not limit" in complaint
    plan = unfinished / "plan.json"
    text = plan.read_text()
    plan.write_text(text.replace('"options": {', '"options": {"colour": 3,'))
    code, _, complaint = called("benchmark", "--resume", "out")
    assert code == 2
    assert "started by another version of xai_adapters: unknown option in its plan" in complaint
    plan.write_text(text)
    code, printed, _ = called("benchmark", "--resume", "out", "--time-limit", "1000")
    assert (code, unfinished.exists()) == (0, False)
    assert printed.splitlines()[-1] == f"report: {tmp_path}/out/report.html"
    read = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [run["status"] for run in read["explainers"]] == ["ok"] * 3
    assert read["settings"]["task"] == f"{toys}:task"
    assert read["settings"]["time_limit"] == 1000
    # Nothing is left to do, which is no mistake.
    assert called("benchmark", "--resume", "out")[0] == 0


def test_a_model_that_cannot_be_copied_is_explained_where_it_is(
    called: Any, tmp_path: Path
) -> None:
    (tmp_path / "no_copy.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    return lambda X: np.eye(2)[(X[:, 0] > 0).astype(int)]\n"
    )
    np.savez(tmp_path / "rows.npz", rows=np.eye(4) - 0.5)
    command = ("--model", "no_copy:make", "--data", "rows.npz", "--explainers", "random")
    code, printed, told = called("benchmark", *command, "--out", "out")
    assert (code, "random" in printed) == (0, True)
    assert "cannot be copied to other processes" in told
    assert "an explainer that hangs cannot be ended" in told
    code, _, told = called("benchmark", *command, "--out", "two", "--jobs", "2")
    assert (code, "or run without jobs" in told) == (2, True)


def test_two_runs_are_compared_and_reported_on(called: Any, toys: str, tmp_path: Path):
    command = ["benchmark", f"{toys}:task", "--explainers", f"{toys}:all_at_once"]
    for folder in ("a", "b"):
        assert called(*command, "--out", folder)[0] == 0
    code, printed, _ = called("compare", "a", "b", "--fail-on", "regress")
    assert code == 0
    assert printed.splitlines()[-1].startswith("0 of 6 measurements differ beyond noise; 6 were")
    spoiled = json.loads((tmp_path / "b" / "results.json").read_text())
    spoiled["explainers"][0].update(status="error", reason="ValueError: no")
    (tmp_path / "b" / "results.json").write_text(json.dumps(spoiled))
    code, printed, _ = called("compare", "a", "b", "--fail-on", "regress")
    assert code == 1
    assert "all_at_once raises now: ValueError: no" in printed
    assert called("compare", "a", "b")[0] == 0

    (tmp_path / "a" / "report.html").unlink()
    assert called("report", "a")[0] == 0
    assert (tmp_path / "a" / "report.html").read_text().startswith("<!doctype html>")
    assert called("report", "a", "--format", "md")[1].startswith("| explainer |")
    assert called("report", "a", "--format", "csv", "--out", "a.csv")[1] == ""
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0].startswith("explainer,metric,value,")
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["all_at_once", metric]
        for metric in (
            "masking_area",
            "changed_30",
            "changed_50",
            "changed_70",
            "insertion_area",
            "sparseness",
        )
    ]


def test_a_run_that_compares_nothing_fails_and_one_that_replaces_another_says_so(
    called: Any, toys: str, tmp_path: Path
):
    for deadly in (f"{toys}:deadly", f"{toys}:deadly,random"):
        code, printed, told = called(
            "benchmark", f"{toys}:task", "--explainers", deadly, "--out", "out"
        )
        assert code == ("random" not in deadly)
        assert ("the results in 'out' will be replaced" in told) == ("random" in deadly)
        assert "deadly: its process ended with exit code 7" in printed
        assert (tmp_path / "out" / "report.html").exists()


MISTAKES = {
    "task": (["benchmark", "digitz"], "Did you mean 'digits'"),
    "explainer": (["benchmark", "digits", "--explainers", "limee"], "Did you mean 'lime'"),
    "limit": (["benchmark", "digits", "--limit", "0"], "limit must be at least 1, is 0"),
    "device": (["benchmark", "digits", "--device", "toaster"], "toaster"),
    "folder": (["benchmark", "digits", "--explainers", "random", "--out", "file/x"], "--out"),
    "data": (["benchmark", "mnist"], "XAI_ADAPTERS_DATA"),
    "list": (["list", "task"], "Did you mean 'tasks'"),
    "time": (
        ["benchmark", "digits", "--time-limit", "-1"],
        "time_limit must be more than 0",
    ),
    "axiom": (["axioms", "random", "--axioms", "dumy"], "Did you mean 'dummy'"),
    "checked": (["axioms", "limee"], "Did you mean 'lime'"),
    "examples": (["axioms", "random", "--max-examples", "0"], "at least 1"),
    "none": (["benchmark", "digits", "--explainers", ","], "no explainers"),
    "jobs": (["benchmark", "digits", "--jobs", "0"], "jobs must be at least 1, is 0"),
    "nothing": (["benchmark"], "name a task"),
    "compared": (["compare", "nowhere", "nowhere"], "no results.json in 'nowhere'"),
    "failing": (["compare", "a", "b", "--fail-on", "regres"], "Did you mean 'regress'"),
    "format": (["report", "a", "--format", "htm"], "Did you mean 'html'"),
    "config": (["benchmark", "--config", "none.toml"], "cannot read 'none.toml'"),
    "resumed": (["benchmark", "--resume", "nowhere"], "no folder 'nowhere'"),
    "maker": (["benchmark", "digits", "--explainers", "no_such:make"], "cannot import"),
}


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Call the command line in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XAI_ADAPTERS_DATA", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xai-adapters", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), *capfd.readouterr()

    return run


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake: str, called: Any, tmp_path: Path):
    arguments, hint = MISTAKES[mistake]
    (tmp_path / "file").touch()
    code, _, complaint = called(*arguments)
    assert code == 2
    assert "Traceback" not in complaint
    (line,) = [line for line in complaint.splitlines() if line.startswith("xai-adapters: ")]
    assert hint in line
    assert not (tmp_path / "xai-results").exists()


def test_a_missing_library_is_named_with_its_extra(called: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, complaint = called("list", "tasks")
    assert code == 2
    assert "xai-adapters[benchmark]" in complaint


@pytest.mark.parametrize("what", ["tasks", "explainers", "metrics", "axioms"])
def test_lists(what: str, called: Any):
    code, printed, _ = called("list", what)
    assert code == 0
    expected = {"tasks": "imagenet-animals", "explainers": "invariant_box", "metrics": "validity"}
    expected["axioms"] = "completeness"
    names = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert expected[what] in names
    assert len(names) == len(set(names))


def test_the_matrix_of_axioms_is_printed_and_written(called: Any, tmp_path: Path):
    pytest.importorskip("hypothesis")
    (tmp_path / "mine.py").write_text(
        "from xai_adapters.axioms import explainer\n"
        "def made():\n"
        "    def ones(model):\n"
        "        return lambda inputs, target: 0 * inputs + 1\n"
        "    return explainer('ones', ones, {'dummy': 0, 'symmetry': 0, 'scaling': 'no unit'})\n"
    )
    code, printed, _ = called(
        "axioms", "mine:made", "random", "--axioms", "dummy,symmetry,scaling", "--out", "r.json",
        "--max-examples", "5", "--budget", "60",
    )  # fmt: skip
    assert code == 1
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    assert (rows["dummy"], rows["symmetry"], rows["scaling"]) == (
        ["✗", "·"],
        ["✓", "·"],
        ["·", "·"],
    )
    assert "tested = load_explainers('mine:made')[0]" in printed
    read = json.loads((tmp_path / "r.json").read_text())
    assert [record["status"] for record in read["records"][:3]] == ["broken", "kept", "not claimed"]
    assert read["axioms"]["dummy"]["atol"] == 1e-6
    code, _, _ = called("axioms", "mine:made", "--axioms", "symmetry", "--max-examples", "5")
    assert code == 0


def test_metrics_are_listed_with_direction_range_inputs_and_source(called: Any):
    _, printed, _ = called("list", "metrics")
    lines = printed.splitlines()
    (at,) = [i for i, line in enumerate(lines) if line.startswith("faithfulness ")]
    assert lines[at + 1].strip() == (
        "higher is better; from -1 to 1; of scores, rows, model; Bhatt, Weller and Moura 2020; "
        "--metrics faithfulness"
    )
