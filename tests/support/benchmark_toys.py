"""A task and explainers that other processes can import, and that log their calls.

Each time one is made or called, a line goes to the file that the variable TOYS_LOG names.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.registry import Explainer, ExplainerEntry, FunctionExplainer, Subject

MODULE = "benchmark_toys"
N_ROWS = 7
_END = Path("out/come to an end")


class Bright(nn.Module):
    """Class 1 for images whose left column is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, images: Tensor) -> Tensor:
        margin = self.scale * (images[:, 0, :, 0].mean(dim=1) - 0.55)
        return torch.stack((-margin, margin), dim=1)


def bright() -> nn.Module:
    return Bright()


def task() -> Task:
    generator = torch.Generator().manual_seed(0)
    return Task(
        "toys", "tiny images", "image", Bright().eval(),
        rows=torch.rand(N_ROWS, 1, 4, 4, generator=generator),
        background=torch.rand(64, 1, 4, 4, generator=generator),
        class_names=("dark", "bright"),
    )  # fmt: skip


def log(line: str) -> None:
    if "TOYS_LOG" in os.environ:
        with Path(os.environ["TOYS_LOG"]).open("a") as file:
            file.write(line + "\n")


def drawing(subject: Subject) -> Explainer:
    """Scores drawn from every global generator."""
    log("made drawing")

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        log(f"drawing {len(rows)}")
        noise = random.random() + float(np.random.rand())  # noqa: NPY002
        return torch.rand(rows.shape) + noise * rows

    return FunctionExplainer(explain)


def fitted(subject: Subject) -> Explainer:
    """Scores from weights that are drawn in fitting."""
    log("made fitted")
    weights = torch.rand(subject.background.shape[1:]) + subject.seed

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        log(f"fitted {len(rows)}")
        return rows * weights * target[:, None, None, None]

    return FunctionExplainer(explain)


def endless(subject: Subject) -> Explainer:
    """Explains nothing until `let_end` was called in the same folder."""

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        while not _END.exists():
            time.sleep(0.01)
        return rows

    return FunctionExplainer(explain)


def let_end() -> None:
    """Let `endless` go on."""
    _END.touch()


def deadly(subject: Subject) -> Explainer:
    """Ends its process, as a fault in native code or a lack of memory does."""
    return FunctionExplainer(lambda rows, target: os._exit(7))


def hanging(subject: Subject) -> Explainer:
    """Explains rows, but never comes to an end with the fifth of the task."""
    fifth = task().rows[4]

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        if (rows == fifth).flatten(1).all(dim=1).any():
            time.sleep(3600)
        return rows

    return FunctionExplainer(explain)


def hanging_with_seed_1(subject: Subject) -> Explainer:
    """Explains rows when it is made with seed 0 only."""

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        if subject.seed == 1:
            time.sleep(3600)
        return rows

    return FunctionExplainer(explain)


def never_made(subject: Subject) -> Explainer:
    """Never comes to an end with its fit."""
    time.sleep(3600)
    raise AssertionError


stuck = ExplainerEntry("stuck", "hanging, two rows a block", f"{MODULE}:hanging", block_size=2)
one_by_one = ExplainerEntry("one_by_one", "drawing, row by row", f"{MODULE}:drawing", block_size=1)
in_pairs = ExplainerEntry("in_pairs", "fitted, two rows a block", f"{MODULE}:fitted", block_size=2)
all_at_once = ExplainerEntry("all_at_once", "fitted, all rows", f"{MODULE}:fitted")
EXPLAINERS = tuple(f"{MODULE}:{name}" for name in ("one_by_one", "in_pairs", "all_at_once"))
