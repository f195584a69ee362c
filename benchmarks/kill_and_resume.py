"""Kill runs at random moments, resume them, and compare every number with an uninterrupted run.

    python benchmarks/kill_and_resume.py --kills 20

Each run is one of the command line with two worker processes. It is killed at a random moment in
the three seconds after it has finished another block, and resumed until it finishes. Its rows must
equal those of an uninterrupted run with one process, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pyarrow import parquet
from sklearn.datasets import make_moons
from sklearn.ensemble import RandomForestClassifier

from xai_adapters.benchmark import Task, task_of

EXPLAINERS = "fimap,kernel_shap,lime_tabular,random,shap_kernel"
COMMAND = [sys.executable, "-m", "xai_adapters", "benchmark"]


def task() -> Task:
    """Half moons and a small forest."""
    rows, labels = make_moons(500, noise=0.2, random_state=0)
    forest = RandomForestClassifier(10, random_state=0).fit(rows[100:], labels[100:])
    return task_of(forest, rows, limit=12, name="moons")


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a run of the command line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def n_finished(folder: Path) -> int:
    """Number of finished blocks."""
    return len(list(folder.rglob("*.safetensors")))


def kill(run: subprocess.Popen[bytes], folder: Path, delay: float) -> bool:
    """Kill a run some seconds after it has finished a block; true if it was still running."""
    before = n_finished(folder)
    while run.poll() is None and n_finished(folder) <= before:
        time.sleep(0.01)
    try:
        run.wait(delay)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGKILL)
        run.wait()
        return True
    return False


def main() -> None:
    """Kill as often as asked for, and print how many runs differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    new = ("kill_and_resume:task", "--explainers", EXPLAINERS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        assert start(folder, *new, "--out", "alone").wait() == 0
        expected = parquet.read_table(folder / "alone" / "rows.parquet")
        n_kills = n_runs = n_different = 0
        while n_kills < options.kills or (folder / "run").exists():
            unfinished = (folder / "run" / "unfinished" / "plan.json").exists()
            arguments = ("--resume", "run") if unfinished else (*new, "--out", "run")
            run = start(folder, *arguments, "--jobs", "2")
            if n_kills < options.kills and kill(run, folder / "run", draw.uniform(0, 3)):
                n_kills += 1
                print(f"kill {n_kills}: {n_finished(folder / 'run')} blocks finished", flush=True)
                continue
            code = run.wait()
            assert code == 0, f"a run that was not killed ended with exit code {code}"
            n_runs += 1
            n_different += not parquet.read_table(folder / "run" / "rows.parquet").equals(expected)
            shutil.rmtree(folder / "run")
        print(f"{n_kills} kills, {n_runs} runs finished, {n_different} of them differ")
        raise SystemExit(n_different > 0)


if __name__ == "__main__":
    main()
