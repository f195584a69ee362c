"""Kill runs at random moments, go on with them, and compare every number with a run left alone.

    python benchmarks/kill_and_resume.py --kills 20

Each run is the command line's, with two processes. It gets SIGKILL at a moment drawn evenly from
the three seconds after it finished something new, and is gone on with until it comes to its
end. Its rows must be those of an uninterrupted run with one process, bit for bit.
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

from xai_adapters.benchmark import task_of
from xai_adapters.benchmark.tasks.task import Task

EXPLAINERS = "fimap,kernel_shap,lime_tabular,random,shap_kernel"
COMMAND = [sys.executable, "-c", "from xai_adapters.cli import main; main()", "benchmark"]


def task() -> Task:
    """Half moons and a small forest."""
    rows, labels = make_moons(500, noise=0.2, random_state=0)
    forest = RandomForestClassifier(10, random_state=0).fit(rows[100:], labels[100:])
    return task_of(forest, rows, limit=12, name="moons")


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A run of the command line."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def n_finished(folder: Path) -> int:
    """Blocks that are there."""
    return len(list(folder.rglob("*.safetensors")))


def killed(run: subprocess.Popen[bytes], folder: Path, delay: float) -> bool:
    """Kill a run some seconds after it has finished a block; whether it was still running."""
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
    """Kill as often as wanted, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    draw = random.Random(wanted.seed)
    new = ("kill_and_resume:task", "--explainers", EXPLAINERS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        assert started(folder, *new, "--out", "alone").wait() == 0
        expected = parquet.read_table(folder / "alone" / "rows.parquet")
        n_kills = n_runs = n_different = 0
        while n_kills < wanted.kills or (folder / "run").exists():
            unfinished = (folder / "run" / "unfinished" / "plan.json").exists()
            arguments = ("--resume", "run") if unfinished else (*new, "--out", "run")
            run = started(folder, *arguments, "--jobs", "2")
            if n_kills < wanted.kills and killed(run, folder / "run", draw.uniform(0, 3)):
                n_kills += 1
                print(
                    f"kill {n_kills}: {n_finished(folder / 'run')} blocks are finished", flush=True
                )
                continue
            code = run.wait()
            assert code == 0, f"a run that was not killed ended with exit code {code}"
            n_runs += 1
            n_different += not parquet.read_table(folder / "run" / "rows.parquet").equals(expected)
            shutil.rmtree(folder / "run")
        print(f"{n_kills} kills, {n_runs} runs came to an end, {n_different} of them differ")
        raise SystemExit(n_different > 0)


if __name__ == "__main__":
    main()
