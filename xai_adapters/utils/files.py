"""Files that are replaced whole or left as they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, and put it in the place of `path` at once.

    Whatever `write` raises leaves `path` as it was, and nothing beside it. What is in the place of
    `path` has reached the disk, so that not even a power cut leaves half a file there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(draft)
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
