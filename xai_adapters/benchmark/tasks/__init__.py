"""Tasks: models with rows to explain.

To add a task, add a file to this package with a function that is decorated with `register`.
"""

import importlib
import pkgutil

from xai_adapters.benchmark.tasks.datasets import (
    Animals,
    MissingDataError,
    data_file,
    imagenet_animals,
    mnist,
)
from xai_adapters.benchmark.tasks.from_files import task_from_files
from xai_adapters.benchmark.tasks.from_python import task_of
from xai_adapters.benchmark.tasks.pretrained_networks import CifarResNet, MobileNet, SqueezeNet
from xai_adapters.benchmark.tasks.registered import (
    TASKS,
    TaskEntry,
    TaskSetup,
    load_task,
    register,
    task_entry,
)
from xai_adapters.benchmark.tasks.tables import Table, adult
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.benchmark.tasks.training import SmallConvNet

__all__ = [
    "TASKS",
    "Animals",
    "CifarResNet",
    "MissingDataError",
    "MobileNet",
    "SmallConvNet",
    "SqueezeNet",
    "Table",
    "Task",
    "TaskEntry",
    "TaskSetup",
    "adult",
    "data_file",
    "imagenet_animals",
    "load_task",
    "mnist",
    "register",
    "task_entry",
    "task_from_files",
    "task_of",
]

# Each module registers its tasks.
for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")
