"""The folder of a run: locked while the run works, with a subfolder for unfinished work."""

from __future__ import annotations

import json
import os
import platform
import shutil
import textwrap
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from xai_adapters.benchmark.run.blocks import BlockStore
from xai_adapters.errors import ResultsFolderError, require
from xai_adapters.utils.files import replace_file

_PLAN_VERSION = 2


class RunFolder:
    """A folder that one run at a time works in.

    The subfolder `unfinished` holds all that is needed to resume a run: its plan, and a file for
    each finished block. It is removed when the results are written.

    The operating system releases the lock when the process ends, however it ends. The owner's file
    beside it is only for messages.

    Args:
        path: the folder; it is made if it does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as path, RunFolder(Path(path)) as folder:
        ...     folder.take_up({"settings": {"seed": 0}}, resume=False)
        ...     folder.plan()
        {'settings': {'seed': 0}}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / "unfinished"
        self.blocks = BlockStore(self.unfinished)
        self._plan, self._owner = self.unfinished / "plan.json", self.unfinished / "owner.json"
        self._lock: Any = None
        self._made: list[Path] = []

    def __enter__(self) -> RunFolder:
        """Lock the folder.

        Raises:
            ResultsFolderError: if it cannot be written to, or another process works in it.
        """
        filelock = require("filelock", "benchmark")
        self._made = [each for each in (self.path, *self.path.parents) if not each.exists()]
        try:
            self.unfinished.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.unfinished / "lock")
            self._lock.acquire(timeout=0)
            previous = self._read(self._owner)
            mine = {
                "process": os.getpid(),
                "host": platform.node(),
                "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
            _write(self._owner, mine)
        except filelock.Timeout:
            raise ResultsFolderError(
                f"{_who(self._read(self._owner))} works in folder '{self.path}'; wait for it, or "
                "choose another folder with --out"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        if previous is not None:
            warnings.warn(
                f"{_who(previous)} ended without finishing its run in '{self.path}'; its lock is "
                "taken over",
                stacklevel=2,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unlock the folder; an unfinished run stays, and a folder without one is removed."""
        self._owner.unlink(missing_ok=True)
        if not self._plan.exists():
            shutil.rmtree(self.unfinished, ignore_errors=True)
            # A mistake leaves no empty folders behind.
            with suppress(OSError):
                for made in self._made:
                    made.rmdir()
        self._lock.release()

    def plan(self) -> dict[str, Any] | None:
        """The plan of the unfinished run; None if there is none.

        Raises:
            ResultsFolderError: if there is one that cannot be read.
        """
        if not self._plan.exists():
            return None
        content = self._read(self._plan)
        if content is None or content.get("version") != _PLAN_VERSION:
            raise ResultsFolderError(
                f"'{self._plan}' is damaged or of another version of xai_adapters; remove the "
                f"folder '{self.unfinished}' to start again"
            )
        plan: dict[str, Any] = content["plan"]
        return plan

    def check_free(self) -> None:
        """Make sure that a new run would discard no finished blocks.

        Raises:
            ResultsFolderError: if the folder holds an unfinished run.
        """
        if self._plan.exists():
            raise ResultsFolderError(
                f"folder '{self.path}' holds an unfinished run; resume it (--resume), remove "
                f"'{self.unfinished}' to discard it, or choose another folder with --out"
            )

    def take_up(self, plan: dict[str, Any], *, resume: bool, free: Collection[str] = ()) -> None:
        """Start a run, or resume the unfinished one.

        Args:
            plan: the plan of the run, in plain values.
            resume: resume the unfinished run, if there is one.
            free: names of values in the plan that may differ from those it was started with.

        Raises:
            ResultsFolderError: if there is an unfinished run that is not to be resumed or has
                another plan; or if the plan cannot be written.
        """
        plan = json.loads(json.dumps(plan))
        unfinished = self.plan()
        if unfinished is not None:
            if not resume:
                self.check_free()
            changed = dict.fromkeys(_differences(unfinished, plan, free))
            if changed:
                raise ResultsFolderError(
                    f"the unfinished run in '{self.path}' was started with other "
                    f"{'; '.join(changed)}. Resume it with the same, or remove "
                    f"'{self.unfinished}' to start again"
                )
        if plan != unfinished:
            try:
                _write(self._plan, {"version": _PLAN_VERSION, "plan": plan})
            except OSError as error:
                raise self._unwritable(error) from error

    def finish(self) -> None:
        """Mark the run as finished: its results are written."""
        self._plan.unlink()

    def _unwritable(self, error: OSError) -> ResultsFolderError:
        return ResultsFolderError(
            f"cannot write to folder '{self.path}': {error.strerror or error}; make room, or "
            "choose another with --out"
        )

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None


def _differences(
    former: Mapping[str, Any], plan: Mapping[str, Any], free: Collection[str]
) -> Iterator[str]:
    for name in {**former, **plan}:
        before, now = former.get(name), plan.get(name)
        if name in free or before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now, free)
        else:
            yield f"{name} ({_shortly(before)}, now {_shortly(now)})"


def _shortly(value: Any) -> str:
    return textwrap.shorten(str(value), 60, placeholder=" …")


def _write(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1)
    replace_file(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def _who(owner: dict[str, Any] | None) -> str:
    if owner is None:
        return "another process"
    return f"process {owner.get('process')} on {owner.get('host')} (since {owner.get('since')})"
