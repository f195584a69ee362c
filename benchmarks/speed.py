"""What a step of the invariant box costs beside the model's own work, and what its steps reach.

    OMP_NUM_THREADS=1 python benchmarks/speed.py [--models mlp,digits] [--steps 30]
    OMP_NUM_THREADS=1 python benchmarks/speed.py --reach digits

The first form times, in turns and in one process, a step of the search and the bare forward and
backward pass of the same model, with the gradient with respect to its input, on as many points in
blocks of the same size. It prints the median of the ratio, with its 95 % bootstrap interval, for
importance and uniform sampling, where most points need only a forward pass on a processor, and for
adversarial sampling, where all need both and no bound is set; and the ratio of the most memory that
either holds. The second form compares what the authors' settings and the default ones reach on a
task's images, with eight seeds. Either exits with 1 where a bound is not kept. Times are those of
the processor, which a busy machine disturbs less than wall-clock time.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or torch's profiler tells when it starts

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from xai_adapters import InvariantBox
from xai_adapters.benchmark import load_task
from xai_adapters.benchmark.results import bootstrap_interval
from xai_adapters.benchmark.tasks import CifarResNet, SmallConvNet, SqueezeNet, data_file

AUTHORS = {
    "sampling": "uniform", "optimizer": "adam", "step_size": 1e-2, "schedule": "constant",
    "n_steps": 500, "n_draws": 32, "tolerance": 0,
}  # fmt: skip
MEMORY_BOUND = 1.15
# Of the time a row takes with the authors' settings.
SHARE_BOUND = 1 / 3
N_TURNS, N_SEEDS = 5, 8


# Of glibc's mallopt: from which size on memory is the system's own, and is handed back to it.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


@dataclass(frozen=True)
class Case:
    """A model and how it is asked.

    Args:
        make: gives the model.
        shape: of a row.
        n_rows: explained at once.
        n_draws: in a step.
        block: points the model sees at once.
        bound: on the ratio of times.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    n_rows: int
    n_draws: int
    block: int
    bound: float


def mlp() -> nn.Module:
    """Two hidden layers of a hundred units."""
    return nn.Sequential(
        nn.Linear(20, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 3)
    )


# Weights do not matter to time; those of files are taken where they are at hand.
CASES = {
    "mlp": Case(mlp, (20,), 50, 32, 1600, 1.5),
    "digits": Case(lambda: SmallConvNet(8, 10), (1, 8, 8), 20, 32, 640, 1.15),
    "resnet20": Case(
        lambda: CifarResNet.pretrained(data_file("models/resnet20_cifar10.safetensors")),
        (3, 32, 32), 2, 32, 64, 1.05,
    ),
    "squeezenet": Case(
        lambda: SqueezeNet.pretrained(data_file("models/squeezenet1_1_imagenet.safetensors")),
        (3, 224, 224), 1, 8, 8, 1.05,
    ),
}  # fmt: skip


def bare(model: nn.Module, points: Tensor, block: int) -> None:
    """Forth and back, block by block."""
    for some in points.split(block):
        leaf = some.detach().requires_grad_()
        torch.autograd.grad(model(leaf).sum(), leaf)


def prepared(case: Case) -> tuple[nn.Module, Tensor]:
    """The model in eval mode, and rows."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return case.make().eval(), torch.rand(case.n_rows, *case.shape)


def solver(case: Case, steps: int, sampling: str, **settings: object) -> InvariantBox:
    """A search of so many steps that no row stops early."""
    return InvariantBox(
        n_steps=steps, n_draws=case.n_draws, sampling=sampling, internal_batch_size=case.block,
        bounds=(0.0, 1.0), tolerance=0, n_check_draws=1, **settings,
    )  # fmt: skip


def ratios(case: Case, steps: int, sampling: str) -> np.ndarray:
    """For each step its time over that of the bare passes that follow it."""
    model, rows = prepared(case)
    points = torch.rand(case.n_rows * case.n_draws, *case.shape)
    ours: list[float] = []
    theirs: list[float] = []
    since = 0.0

    def in_turns(done: float) -> float:
        """Called once in each step, where the search asks how its step size falls."""
        nonlocal since
        now = time.process_time()
        if since:
            ours.append(now - since)
        start = time.process_time()
        bare(model, points, case.block)
        theirs.append(time.process_time() - start)
        since = time.process_time()
        return 1 - done

    solver(case, steps, sampling, schedule=in_turns).solve(model, rows)
    # The bare pass before a step and the one after, so that drifts of the machine cancel.
    beside = (np.array(theirs[:-1]) + np.array(theirs[1:])) / 2
    return np.array(ours) / beside


def peak(run: Callable[[], object]) -> int:
    """The most bytes that torch held at once on the processor while something ran."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    events = seen.profiler.kineto_results.events()
    memory = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return int(np.cumsum([size for _, size in memory]).max())


def memory_ratio(case: Case, sampling: str) -> float:
    """The most memory that steps of a search hold over what a bare pass on its points holds."""
    model, rows = prepared(case)

    def bare_pass() -> None:
        bare(model, torch.rand(case.n_rows * case.n_draws, *case.shape), case.block)

    search = solver(case, 3, sampling)
    return peak(lambda: search.solve(model, rows)) / peak(bare_pass)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for what comes next.

    It hands memory back after some passes and not after others, and the page faults of taking it
    again are a fifth of a small model's pass or more: in favour of a search, which needs less.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**25)
        mallopt(_TRIM_THRESHOLD, 2**30)


def cost(names: list[str], steps: int) -> bool:
    """Time and memory of a step beside the bare passes."""
    shown = Table("model", "points", "sampling", "time", "95 %", "bound", "memory")
    kept = True
    for name in names:
        case = CASES[name]
        for sampling in ("importance", "uniform", "adversarial"):
            of_steps = ratios(case, steps, sampling)
            # Medians of resamples: a step that was interrupted says nothing.
            picked = np.random.default_rng(0).integers(len(of_steps), size=(1000, len(of_steps)))
            low, high = np.quantile(np.median(of_steps[picked], axis=1), [0.025, 0.975])
            ratio, memory = float(np.median(of_steps)), memory_ratio(case, sampling)
            bound = None if sampling == "adversarial" else case.bound
            kept &= bound is None or (ratio <= bound and memory <= MEMORY_BOUND)
            shown.add_row(
                name, f"{case.n_rows} x {case.n_draws}", sampling, f"{ratio:.3f}",
                f"{low:.3f} to {high:.3f}", f"{bound or ''}", f"{memory:.2f}",
            )  # fmt: skip
    Console().print(shown)
    return kept


def reach(name: str, n_rows: int) -> bool:
    """What the authors' settings and the default ones reach."""
    task = load_task(name, limit=n_rows)
    shown = Table("settings", "steps", "objective", "violation rate", "s/row")
    choices = {"the authors'": AUTHORS, "default": {}}
    times: dict[str, list[float]] = {label: [] for label in choices}
    # In turns, as a machine may be slower for minutes.
    for _ in range(N_TURNS):
        for label, settings in choices.items():
            start = time.process_time()
            InvariantBox(**settings).solve(task.model, task.rows)
            times[label].append((time.process_time() - start) / n_rows)
    # The same boxes, looked at more closely, and with other random numbers.
    found = {
        label: [
            InvariantBox(n_check_draws=2000, seed=seed, **settings).solve(task.model, task.rows)
            for seed in range(N_SEEDS)
        ]
        for label, settings in choices.items()
    }
    mean = {
        label: {
            what: torch.stack([getattr(box, what) for box in boxes]).double().mean(dim=0)
            for what in ("objective", "violation_rate", "n_steps")
        }
        for label, boxes in found.items()
    }
    for label, of in mean.items():
        shown.add_row(
            label, f"{of['n_steps'].max():.0f}", f"{of['objective'].mean():.4f}",
            f"{of['violation_rate'].mean():.4f}", f"{np.median(times[label]):.3f}",
        )  # fmt: skip
    Console().print(f"{task.description}, {n_rows} images, {N_SEEDS} seeds")
    Console().print(shown)
    authors, default = mean.values()
    more = (default["objective"] - authors["objective"]).numpy()
    low, high = bootstrap_interval(more)
    print(f"the default objective is higher by {more.mean():.4f} ({low:.4f} to {high:.4f})")
    shares = np.divide(times["default"], times["the authors'"])
    print(f"it takes {np.median(shares):.2f} of the time ({min(shares):.2f} to {max(shares):.2f})")
    violates = [of["violation_rate"].mean() for of in (default, authors)]
    is_as_good = bool(high >= 0 and violates[0] <= violates[1])
    return is_as_good and float(np.median(shares)) <= SHARE_BOUND


def main() -> int:
    """Measure; 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--reach", choices=("digits", "mnist"))
    parser.add_argument("--rows", type=int, default=40, help="images for --reach")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    if options.reach:
        return int(not reach(options.reach, options.rows))
    return int(not cost(options.models.split(","), options.steps))


if __name__ == "__main__":
    sys.exit(main())
