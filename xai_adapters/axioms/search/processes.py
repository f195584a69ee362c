"""Checks with a time limit, in worker processes that are reused from check to check."""

from __future__ import annotations

import math
import pickle
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Protocol

import torch

from xai_adapters.axioms.record import Record, Status
from xai_adapters.axioms.search.counterexample import one_line
from xai_adapters.utils.process_pool import (
    Event,
    Late,
    Said,
    WorkerProcess,
    next_events,
    serve_requests,
)


class Check(Protocol):
    """What a pool can run: one axiom on one explainer."""

    def run(self, on_case: Callable[[Record], object] | None = None) -> Record:
        """Run it, calling `on_case` after each case with what would be recorded if it ended."""

    def record(self, status: Status, reason: str) -> Record:
        """A record of it that holds no more than that."""

    @property
    def timeout(self) -> float | None:
        """Seconds that it may take; None for no limit."""


@dataclass(frozen=True)
class _SoFar:
    """What would be recorded if a check ended now; None when it begins."""

    record: Record | None


@dataclass(frozen=True)
class _NotHandedOver:
    """Why a check or its record cannot be sent to or from another process."""

    reason: str


class CheckPool:
    """Processes that run checks.

    A check that takes longer than it may, or ends its process, costs that process; the others go
    on. A single process is only used for checks with a limit; others run in this process. So does a
    check that cannot be handed over, then without a limit and with a warning.

    Args:
        n_processes: checks run at once.

    Example:
        >>> with CheckPool() as pool:
        ...     list(pool.records([]))
        []
    """

    def __init__(self, n_processes: int = 1) -> None:
        self._n_processes = n_processes
        self._processes: list[_Process] = []
        self._warned_of: set[str] = set()
        self._why_no_process: str | None = None

    def __enter__(self) -> CheckPool:
        """The pool; processes are started when there is something to do."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes; the next check that needs one starts it."""
        for process in self._processes:
            process.end()
        self._processes.clear()

    def records(self, checks: Sequence[Check]) -> Iterator[tuple[int, Record]]:
        """The number and the record of each check, in the order in which they end."""
        waiting = deque(enumerate(checks))
        try:
            while waiting or any(process.check for process in self._processes):
                yield from self._started(waiting)
                busy = [process for process in self._processes if process.check]
                for process, event in next_events(busy) if busy else ():
                    number, check = process.number, process.check
                    assert check is not None
                    outcome = process.outcome(event)
                    if process.has_ended:
                        self._processes.remove(process)
                    if isinstance(outcome, _NotHandedOver):
                        if not process.is_ready:
                            self._why_no_process = outcome.reason
                        yield number, self._here(check, outcome.reason)
                    elif outcome is not None:
                        yield number, outcome
        finally:
            # Of an iteration that was broken off.
            for process in [each for each in self._processes if each.check]:
                process.end()
                self._processes.remove(process)

    def _started(self, waiting: deque[tuple[int, Check]]) -> Iterator[tuple[int, Record]]:
        """Give each idle process a check; the records of those that cannot be handed over."""
        while waiting:
            if self._n_processes == 1 and waiting[0][1].timeout is None:
                number, check = waiting.popleft()
                yield number, check.run()
                continue
            if self._why_no_process is not None:
                number, check = waiting.popleft()
                yield number, self._here(check, self._why_no_process)
                continue
            idle = next((each for each in self._processes if not each.check), None)
            if idle is None and len(self._processes) == self._n_processes:
                return
            number, check = waiting.popleft()
            try:
                request = pickle.dumps(check)
            except Exception as error:
                yield number, self._here(check, one_line(error))
                continue
            if idle is None:
                idle = _Process()
                self._processes.append(idle)
            idle.begin(number, check, request)

    def _here(self, check: Check, reason: str) -> Record:
        record = check.run()
        if check.timeout is not None and record.explainer not in self._warned_of:
            self._warned_of.add(record.explainer)
            warnings.warn(
                f"{record.explainer} was checked without a time limit, because it cannot be handed "
                f"to another process: {reason}. Define it in a module that can be imported",
                stacklevel=2,
            )
        return record


class _Process(WorkerProcess):
    """A process that runs one check at a time."""

    def __init__(self) -> None:
        super().__init__(_serve, pickle.dumps(torch.get_num_threads()))
        self.number = 0
        self.check: Check | None = None
        self.has_ended = False
        self._so_far: Record | None = None
        self._start = 0.0

    def begin(self, number: int, check: Check, request: bytes) -> None:
        """Run a check."""
        self.number, self.check, self._so_far, self._start = number, check, None, 0.0
        self.send(request)

    def outcome(self, event: Event) -> Record | _NotHandedOver | None:
        """What came of the check with an event, if it has come to an end with it."""
        assert self.check is not None
        limit = math.inf if self.check.timeout is None else self.check.timeout
        match event:
            case Said(_SoFar(None)):
                self._start = time.monotonic()
                self.allow(limit)
                return None
            case Said(_SoFar(record)):
                self._so_far = record
                # By its own clock: we may have read the message late.
                if record is not None and record.seconds <= limit:
                    return None
                self.end()
                event = Late()
        check, self.check = self.check, None
        self.allow(math.inf)
        if isinstance(event, Said):
            outcome: Record | _NotHandedOver = event.message
            return outcome
        self.has_ended = True
        if isinstance(event, Late):
            return self._broken_off(check, "timed out", f"it did not return within {limit:g} s")
        if not self.is_ready:
            return _NotHandedOver(
                f"a new process {event.how} before it began to work; what it wrote says why. A "
                "script has to start checks under `if __name__ == '__main__':`, as processes "
                "import it"
            )
        return self._broken_off(check, "crashed", f"its process {event.how}")

    def _broken_off(self, check: Check, status: Status, reason: str) -> Record:
        """The record of a check that was broken off: of a counterexample if it has found one."""
        so_far = self._so_far
        if so_far is not None and so_far.case is not None:
            return so_far
        seconds = time.monotonic() - self._start if self._start else 0.0
        record = replace(check.record(status, reason), seconds=seconds)
        return replace(record, examples=so_far.examples) if so_far else record


def _serve(connection: Connection, payload: bytes) -> None:
    torch.set_num_threads(pickle.loads(payload))  # from the parent, never from a file

    def send_so_far(record: Record) -> None:
        # A record that cannot be sent is dealt with when the check has ended.
        with suppress(_NotSentError):
            connection.send(_SoFar(_as_received(record)))

    def answer(request: bytes) -> Record | _NotHandedOver:
        try:
            check = pickle.loads(request)
        except Exception as error:
            return _NotHandedOver(one_line(error))
        connection.send(_SoFar(None))
        try:
            return _as_received(check.run(send_so_far))
        except _NotSentError as error:
            return _NotHandedOver(str(error))

    serve_requests(connection, answer)


class _NotSentError(Exception):
    """A record cannot be sent to another process."""


def _as_received(record: Record) -> Record:
    """The record as another process receives it."""
    try:
        received: Record = pickle.loads(pickle.dumps(record))
    except Exception as error:
        raise _NotSentError(one_line(error)) from error
    return received
