"""A whole run, described in a file or by flags."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field
from typing_extensions import Self

from xai_adapters.benchmark.run.options import Names, RunOptions
from xai_adapters.benchmark.run.selection import select_explainers
from xai_adapters.benchmark.tasks import Task, load_task, task_entry, task_from_files
from xai_adapters.errors import InvalidInputError, require
from xai_adapters.utils.references import is_reference, resolve


class RunDescription(RunOptions):
    """The options of a run together with its task and explainers.

    Example:
        >>> RunDescription.parse({"task": "digits", "time-limit": 60}).time_limit
        60.0
    """

    task: str | None = Field(
        None,
        description="A name of `xai-adapters list tasks`, or MODULE:FUNCTION that returns a Task.",
    )
    explainers: Names | None = Field(
        None,
        description="Names of `xai-adapters list explainers`, or MODULE:MAKER. By default all that "
        "apply.",
    )
    limit: int | None = Field(None, ge=1, description="Largest number of rows to explain.")
    mask_value: float | None = Field(
        None, description="Value of a masked pixel. By default the task's: 0.5, gray."
    )
    device: str = Field("cpu", description="Device of models and rows.")
    model: str | None = Field(
        None,
        description="Model of a counterfactual task: forest, boosting, mlp, tree or linear. "
        "Without a task, MODULE:FUNCTION that makes a model, or MODULE:MODEL.",
    )
    data: str | None = Field(
        None, description="Rows to explain with that model: an .npz or .parquet file."
    )
    background: str | None = Field(
        None, description="Rows to fit explainers to: another such file."
    )
    counterfactuals: bool = Field(
        False, description="Compare counterfactuals of those rows instead of attributions."
    )
    immutable: Names = Field((), description="Features that a counterfactual may not change.")
    categories: Names = Field(
        (),
        description="Categorical features that are stored as numbers: columns of codes, or the "
        "common prefixes of one-hot columns.",
    )
    threads: int = Field(
        1, ge=1, description="torch's threads in each process; sums depend on them."
    )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The description in a TOML or YAML file; its paths are relative to the current folder.

        Raises:
            InvalidInputError: if there is no such file, or it is neither TOML nor YAML.
        """
        if path.suffix not in _READERS:
            raise InvalidInputError(
                f"a run is described by a {', '.join(_READERS)} file; '{path}' is none"
            )
        try:
            values = _READERS[path.suffix](path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInputError(f"cannot read '{path}': {error.strerror}") from error
        except ValueError as error:
            raise InvalidInputError(f"'{path}': {error}") from error
        if not isinstance(values, Mapping):
            raise InvalidInputError(f"'{path}' holds no options; 'task: digits' would be one")
        return cls.parse(values, f"'{path}'")

    @property
    def folder(self) -> Path:
        """Default folder of the results."""
        name = (self.task or self.model or "own").replace(":", ".")
        return Path("xai-results") / name

    def check(self) -> None:
        """Check what can be checked before a model is made or trained.

        Raises:
            UnknownNameError: for an unknown task or explainer.
            InvalidInputError: for options that exclude one another.
        """
        if self.task is None and not (self.model and is_reference(self.model) and self.data):
            raise InvalidInputError(
                "name a task (xai-adapters list tasks), or give --model module:attribute and "
                "--data rows.npz"
            )
        if self.task is not None and self.data is not None:
            raise InvalidInputError("a task has rows of its own; leave task or --data out")
        of_own_tables = ("categories", "counterfactuals", "immutable")
        given = [name for name in of_own_tables if getattr(self, name)]
        if given and (self.task is not None or not self.counterfactuals):
            raise InvalidInputError(
                f"{', '.join(given)}: only for a table of your own (--model and --data), together "
                "with --counterfactuals"
            )
        if self.task is None:
            select_explainers(self.explainers, "counterfactual" if given else "attribution")
        elif not is_reference(self.task):
            select_explainers(self.explainers, task_entry(self.task).compares)

    def load_task(self, *, progress: bool = False) -> Task:
        """Make the task."""
        task = self._task(progress)
        return task if self.mask_value is None else replace(task, mask_value=self.mask_value)

    def _task(self, progress: bool) -> Task:
        if self.task is None:
            assert self.model is not None
            assert self.data is not None
            background = None if self.background is None else Path(self.background)
            return task_from_files(
                self.model, Path(self.data), background=background, limit=self.limit,
                device=self.device, counterfactuals=self.counterfactuals,
                immutable=self.immutable, categories=self.categories,
            )  # fmt: skip
        if not is_reference(self.task):
            return load_task(
                self.task, limit=self.limit, seed=self.seed, device=self.device,
                progress=progress, model=self.model,
            )  # fmt: skip
        made = resolve(self.task)()
        if not isinstance(made, Task):
            raise InvalidInputError(f"'{self.task}' returned a {type(made).__name__}, not a Task")
        return replace(made, rows=made.rows[: self.limit])


def _read_toml(text: str) -> Any:
    tomllib = require("tomllib" if sys.version_info >= (3, 11) else "tomli", "benchmark")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"this is not TOML: {error}") from error


def _read_yaml(text: str) -> Any:
    yaml = require("yaml", "benchmark")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"this is not YAML: {error}") from error


_READERS = {".toml": _read_toml, ".yaml": _read_yaml, ".yml": _read_yaml}
