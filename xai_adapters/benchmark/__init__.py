"""Tasks, metrics, runs that can be gone on with, and the report.

- `run_benchmark` lets explainers explain a task's rows and measures them.
- `task_of` makes a task of a model and rows of yours; `tasks.load_task` gives the registered ones.
"""

from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.benchmark.tasks.own_task import task_of

__all__ = ["run_benchmark", "task_of"]
