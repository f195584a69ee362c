"""Run a function that may never return."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from xai_adapters.errors import XaiAdaptersError
from xai_adapters.model.random_state import leave_behind

Result = TypeVar("Result")
_GRACE_SECONDS = 1.0


class TimedOutError(XaiAdaptersError, TimeoutError):
    """A function did not return in time."""


# Not an Exception: what runs must not take it for one of its own.
class _Stopped(BaseException):
    pass


def within(seconds: float | None, function: Callable[[], Result]) -> Result:
    """What a function returns, if it returns within so many seconds.

    It runs in a thread of its own, in which an exception is raised when time is up. A function that
    waits outside Python, or swallows every exception, cannot be ended from within its process: its
    thread is left behind, puts no random state back any more, and the caller goes on. Only native
    code that keeps the interpreter's lock for ever stops the caller too.

    Args:
        seconds: how long it may take; None runs it here, for as long as it takes.
        function: what to run.

    Raises:
        TimedOutError: if it did not return in time.

    Example:
        >>> within(10, lambda: 1 + 1)
        2
    """
    if seconds is None:
        return function()
    outcome: list[Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name="xai-adapters check")
    thread.start()
    try:
        thread.join(seconds)
    finally:
        late = thread.is_alive()
        if late:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Stopped)
            )
            thread.join(_GRACE_SECONDS)
            if thread.is_alive():
                leave_behind(thread)
    if late:
        raise TimedOutError(f"it did not return within {seconds:g} s")
    if raised:
        raise raised[0]
    return outcome[0]
