"""A run as it is asked for: in a file or by flags."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xai_adapters.benchmark.run.settings import Settings, entries_of
from xai_adapters.benchmark.tasks.named import load_task, task_entry
from xai_adapters.benchmark.tasks.own_task import task_from_files
from xai_adapters.benchmark.tasks.task import Task
from xai_adapters.errors import InvalidInputError, UnknownNameError, require
from xai_adapters.utils.references import is_reference, resolve


@dataclass(frozen=True)
class Request:
    """What is compared on what; the fields are the keys of a file and the flags.

    Args:
        task: a name of `TASKS`, or "module:function" of a function that returns a `Task`; None for
            a model and rows of one's own.
        model: of a counterfactual task its name; without a task "module:attribute".
        data: without a task, the file with the rows.
        background: a file with the rows to fit explainers to, and to take for a reference.
        counterfactuals: of a table of one's own, compare counterfactuals and not attributions.
        immutable: features of that table that may not change.
        categories: its features that are categories though they hold numbers.
        explainers: names or references; None for all that apply.
        limit: rows to explain at most.
        mask_value: what a masked pixel is set to; None for the task's own.
        device: where models and rows are.
        seed, seeds, block_size, time_limit, fit_limit, threads, metrics, fills: see `Settings`.
    """

    task: str | None = None
    model: str | None = None
    data: str | None = None
    background: str | None = None
    counterfactuals: bool = False
    immutable: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    explainers: tuple[str, ...] | None = None
    limit: int | None = None
    mask_value: float | None = None
    device: str = "cpu"
    seed: int = 0
    seeds: int = 1
    block_size: int | None = None
    time_limit: float = 300.0
    fit_limit: float = 1800.0
    threads: int = 1
    metrics: tuple[str, ...] | None = None
    fills: tuple[str, ...] = ()

    @classmethod
    def of(cls, facts: Mapping[str, Any], source: str) -> Request:
        """A request from plain values.

        Args:
            facts: by the names of the fields, with "-" or "_".
            source: where they come from, for errors.

        Raises:
            UnknownNameError: for a key that is no field, with the nearest one.
            InvalidInputError: for a value of the wrong type.
        """
        wanted = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        found: dict[str, Any] = {}
        for key, value in facts.items():
            name = str(key).replace("-", "_")
            if name not in wanted:
                raise UnknownNameError(f"setting in {source}", str(key), wanted)
            found[name] = _of_type(value, wanted[name], f"{key} in {source}")
        return cls(**found)

    @classmethod
    def read(cls, path: Path) -> Request:
        """A request from a TOML or YAML file; paths in it are relative to the current folder.

        Raises:
            InvalidInputError: if there is no such file, or it is neither.
        """
        if path.suffix not in _READERS:
            raise InvalidInputError(
                f"a run is described by a {', '.join(_READERS)} file; '{path}' is none"
            )
        try:
            facts = _READERS[path.suffix](path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInputError(f"cannot read '{path}': {error.strerror}") from error
        except ValueError as error:
            raise InvalidInputError(f"'{path}': {error}") from error
        if not isinstance(facts, dict):
            raise InvalidInputError(f"'{path}' holds no settings; 'task: digits' would be one")
        return cls.of(facts, str(path))

    def overridden(self, flags: Mapping[str, Any]) -> Request:
        """The same with the flags that were given."""
        return replace(self, **{name: value for name, value in flags.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        """The request in plain values; `of` makes the same of them."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def folder(self) -> Path:
        """Where the results go unless told."""
        name = (self.task or self.model or "own").replace(":", ".")
        return Path("xai-results") / name

    def check(self) -> Settings:
        """The settings, after all that can be told before a model is made or trained.

        Raises:
            UnknownNameError: for a task or an explainer that is not there.
            InvalidInputError: for what cannot be used, or does not go together.
        """
        if self.task is None and not (self.model and is_reference(self.model) and self.data):
            raise InvalidInputError(
                "name a task (xai-adapters list tasks), or give --model module:attribute and "
                "--data rows.npz"
            )
        if self.task is not None and self.data is not None:
            raise InvalidInputError("a task has rows of its own; leave task or --data out")
        own = {"counterfactuals", "immutable", "categories"}
        given = sorted(name for name in own if getattr(self, name))
        if given and (self.task is not None or not self.counterfactuals):
            raise InvalidInputError(
                f"{', '.join(given)}: of a table of your own (--model and --data), with "
                "--counterfactuals, and of no other"
            )
        if self.task is None:
            entries_of(self.explainers, "counterfactual" if given else "attribution")
        elif not is_reference(self.task):
            entries_of(self.explainers, task_entry(self.task).compares)
        return self.settings

    @property
    def settings(self) -> Settings:
        """What the numbers depend on besides."""
        return Settings(
            self.seed, self.seeds, self.block_size, self.time_limit, self.threads, self.metrics,
            self.fills, self.fit_limit,
        )  # fmt: skip

    def load(self, *, progress: bool = False) -> Task:
        """Make the task."""
        task = self._load(progress)
        return task if self.mask_value is None else replace(task, mask_value=self.mask_value)

    def _load(self, progress: bool) -> Task:
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


def _of_toml(text: str) -> Any:
    tomllib = require("tomllib" if sys.version_info >= (3, 11) else "tomli", "benchmark")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"this is not TOML: {error}") from error


def _of_yaml(text: str) -> Any:
    yaml = require("yaml", "benchmark")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"this is not YAML: {error}") from error


_READERS = {".toml": _of_toml, ".yaml": _of_yaml, ".yml": _of_yaml}


def _of_type(value: Any, wanted: str, what: str) -> Any:
    """A value as the field holds it."""
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if "tuple" in wanted and is_list and all(isinstance(each, str) for each in value):
        return tuple(value)
    plain = wanted.partition(" ")[0]
    if plain == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if plain == type(value).__name__:
        return value
    if value is None and "None" in wanted:
        return None
    kind = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
    raise InvalidInputError(f"{what} must be {kind.get(plain, 'a list of texts')}; it is {value!r}")
