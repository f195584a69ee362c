"""Waiting for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

# Seconds, far beyond what any wait takes on a busy machine: a test that waits for ever is no help.
_FOR_EVER = 900


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until a condition holds; a process that ends meanwhile is an error."""
    end = time.monotonic() + _FOR_EVER
    while not condition():
        if process is not None and process.poll() is not None:
            raise ChildProcessError(f"the process ended with exit code {process.returncode}")
        if time.monotonic() > end:
            raise TimeoutError("the condition does not hold")
        time.sleep(0.01)
