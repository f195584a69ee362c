"""Compare explainers on tasks: runs that can be resumed, their results and reports.

- `run_benchmark` compares explainers on a task.
- `load_task` makes a registered task, `task_of` a task of your own model and rows.
- `compare` says what changed between two runs; `read_results` reads one.
"""

from xai_adapters.benchmark.results import (
    Results,
    compare,
    read_results,
    write_results,
)
from xai_adapters.benchmark.run import RunDescription, RunOptions, run_benchmark
from xai_adapters.benchmark.tasks import Task, load_task, task_of

__all__ = [
    "Results",
    "RunDescription",
    "RunOptions",
    "Task",
    "compare",
    "load_task",
    "read_results",
    "run_benchmark",
    "task_of",
    "write_results",
]
