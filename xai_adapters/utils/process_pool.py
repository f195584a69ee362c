"""Worker processes that are ended when they take too long, and noticed when they crash."""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, TypeVar

_READY = "ready"
# Seconds; limits may be longer than the system can wait at once.
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Said:
    """A worker sent a message."""

    message: Any


@dataclass(frozen=True)
class Ended:
    """A worker's process ended by itself; `how` says how, in words."""

    how: str


@dataclass(frozen=True)
class Late:
    """A worker was ended because it took longer than it was allowed."""


Event = Said | Ended | Late


class WorkerProcess:
    """A process that serves the other end of a connection.

    The process is spawned, not forked, because torch's threads do not survive a fork. It therefore
    imports what it runs, and the main module of the program too: a script has to start it under
    `if __name__ == "__main__":`.

    Args:
        serve: what the process runs, an importable function of the connection and the payload. It
            usually ends with `serve_requests`.
        payload: what `serve` is given besides the connection.

    Attributes:
        is_ready: whether the process has begun to serve.
        connection: our end.
    """

    def __init__(self, serve: Callable[[Connection, bytes], None], payload: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.is_ready = False
        self._first_request: Any = None
        self.connection, theirs = context.Pipe()
        self._deadline = math.inf
        self._process = context.Process(target=_start, args=(serve, theirs, payload), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, request: Any) -> None:
        """Send a request; that the process has died shows in its next event.

        The first one waits until the process serves: a large one would block us until it reads.
        """
        if not self.is_ready:
            self._first_request = request
            return
        with suppress(OSError):
            self.connection.send(request)

    def begin_serving(self) -> None:
        """Note that the process serves, and send what it was to do first."""
        self.is_ready = True
        request, self._first_request = self._first_request, None
        if request is not None:
            self.send(request)

    def allow(self, seconds: float) -> None:
        """Let the worker take so many seconds from now until it is allowed others, or inf."""
        self._deadline = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Seconds until the worker is late."""
        return max(0.0, self._deadline - time.monotonic())

    def end(self) -> str:
        """End the process, whatever it is doing, and say how it ended."""
        self.connection.close()
        self._process.join(timeout=0.2)
        self._process.terminate()
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()
        return ending(self._process.exitcode)


Worker = TypeVar("Worker", bound=WorkerProcess)


def next_events(workers: Sequence[Worker]) -> Iterator[tuple[Worker, Event]]:
    """Wait until a worker says something, dies or is late; those that are late are ended.

    Args:
        workers: those that are at something; at least one.

    Yields:
        A worker and what happened to it; after a long wait perhaps nothing.
    """
    soonest = min(_LONGEST_WAIT, *(worker.seconds_left() for worker in workers))
    wait_for_any([worker.connection for worker in workers], soonest)
    for worker in workers:
        # Looked at only now: while the caller dealt with the others, this one may have finished.
        if worker.connection.poll():
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                yield worker, Ended(worker.end())
                continue
            if message == _READY and not worker.is_ready:
                worker.begin_serving()
            else:
                yield worker, Said(message)
        elif worker.seconds_left() == 0:
            worker.end()
            yield worker, Late()


def serve_requests(connection: Connection, answer: Callable[[Any], Any]) -> None:
    """Answer requests, in a worker process, until its parent is gone."""
    with suppress(EOFError, ConnectionError):
        connection.send(_READY)
        while True:
            connection.send(answer(connection.recv()))


def _start(
    serve: Callable[[Connection, bytes], None], connection: Connection, payload: bytes
) -> None:
    # Ctrl-C reaches the parent, which ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(connection, payload)


def ending(code: int | None) -> str:
    """How a process ended, in words.

    Example:
        >>> ending(7), ending(-11)
        ('ended with exit code 7', 'was ended by SIGSEGV')
    """
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (", possibly out of memory" if name == "SIGKILL" else "")
