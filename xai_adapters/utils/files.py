"""Files that are replaced whole or left as they were."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, then replace `path` by it in one step.

    If `write` raises, `path` stays as it was, and no other file is left. The new file is on the
    disk before it replaces the old one, so that not even a power cut leaves half a file.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, f"there is no folder '{path.parent}' to write to; make it first"
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(draft)
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
