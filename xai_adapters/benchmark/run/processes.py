"""Units done in processes of their own, which end with them if need be."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any

import torch

from xai_adapters.benchmark.run.bench import Bench
from xai_adapters.benchmark.run.blocks import BlockStore, Unit
from xai_adapters.benchmark.run.scheduler import Dealer, Lane
from xai_adapters.benchmark.run.worker import STAGES, Stage, Worker
from xai_adapters.errors import InvalidInputError

_READY = "ready"
# Seconds; limits may be longer than the system can wait at once.
_LONGEST_WAIT = 60.0


class HandOverError(InvalidInputError):
    """Model, rows or explainers cannot be copied to another process."""


def do_in_processes(
    dealer: Dealer, bench: Bench, store: BlockStore, n_processes: int, n_threads: int
) -> None:
    """Do all units in processes of their own.

    An explainer that ends its process, or takes longer than it may, is given up; the others go on.

    Args:
        dealer: deals them.
        bench: the comparison, which is copied to each process.
        store: where finished blocks are kept.
        n_processes: how many.
        n_threads: torch's, in each.

    Raises:
        HandOverError: if the model, or an explainer that is no reference, cannot be copied.
    """
    try:
        payload = pickle.dumps((bench, store, n_threads))
    except Exception as error:
        raise HandOverError(
            f"model, rows and explainers cannot be handed to other processes: {error}. Define them "
            "in a module that can be imported, or run without jobs"
        ) from error
    n_units = sum(len(lane.pending) for lane in dealer.lanes)
    processes = [_Process(payload) for _ in range(min(n_processes, n_units))]
    try:
        while busy := [process for process in processes if process.is_busy(dealer)]:
            soonest = min(_LONGEST_WAIT, *(process.seconds_left(dealer) for process in busy))
            heard = wait_for_any([process.connection for process in busy], soonest)
            for process in busy:
                if process.connection in heard:
                    lives = process.hear(dealer)
                else:
                    lives = not process.end_if_late(dealer)
                if not lives:
                    processes.remove(process)
                    if dealer.has_more():
                        processes.append(_Process(payload))
    finally:
        for process in processes:
            process.end()


class _Process:
    """A process with a worker in it, and what it is at.

    Args:
        payload: the pickled comparison, store and number of threads.
    """

    def __init__(self, payload: bytes) -> None:
        # Not forked: torch's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        self._ready = False
        self._lane: Lane | None = None
        self._at: tuple[Lane, Unit] | None = None
        self._stage: Stage | None = None
        self._since = 0.0
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, payload), daemon=True)
        self._process.start()
        theirs.close()

    def is_busy(self, dealer: Dealer) -> bool:
        """Whether it is at a unit; one that is not gets the next that there is for it."""
        if self._at is None:
            self._at = dealer.next(self._lane)
            if self._at is None:
                return False
            self._lane, unit = self._at
            self._lane.n_workers += 1
            # One that is no more has no outcome either, which is seen to then.
            with suppress(OSError):
                self.connection.send(unit)
        return True

    def seconds_left(self, dealer: Dealer) -> float:
        """How long it may take for what it is at; without an end while it has not begun."""
        if self._stage is None:
            return math.inf
        return max(0.0, self._since + dealer.limit(self._stage) - time.monotonic())

    def hear(self, dealer: Dealer) -> bool:
        """Take what the process says; false if it is no more."""
        try:
            said = self.connection.recv()
        except (EOFError, OSError):
            if not self._ready:
                raise InvalidInputError(
                    "a process ended before it began to work; what it wrote says why. A script has "
                    "to call run_benchmark under `if __name__ == '__main__':`, as processes import "
                    "it"
                ) from None
            ending = _ending(self.end())
            lane, unit = self._left()
            dealer.settle(lane, unit, ("error", f"its process {ending} ({unit})"))
            return False
        self._ready = True
        if said in STAGES:
            self._stage, self._since = said, time.monotonic()
        elif said != _READY:
            dealer.settle(*self._left(), said)
        return True

    def end_if_late(self, dealer: Dealer) -> bool:
        """End it if what it is at takes longer than it may; whether it did."""
        stage = self._stage
        if stage is None or self.seconds_left(dealer) > 0:
            return False
        self.end()
        dealer.ended(*self._left(), stage)
        return True

    def _left(self) -> tuple[Lane, Unit]:
        """What it was at, which it is no longer."""
        assert self._at is not None
        left, self._at, self._stage = self._at, None, None
        left[0].n_workers -= 1
        return left

    def end(self) -> int | None:
        """End the process, whatever it does; its exit code."""
        self.connection.close()
        self._process.join(timeout=0.2)
        self._process.terminate()
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()
        return self._process.exitcode


def _ending(code: int | None) -> str:
    """How a process ended, in words.

    Example:
        >>> _ending(7), _ending(-11)
        ('ended with exit code 7', 'was ended by SIGSEGV')
    """
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (", as for want of memory" if name == "SIGKILL" else "")


def _serve(connection: Connection, payload: bytes) -> None:
    # The parent is told of a Ctrl-C, and ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench, store, n_threads = pickle.loads(payload)  # from the parent, never from a file
    except Exception as error:
        connection.send(
            HandOverError(
                f"another process cannot make model and explainers: {error}. Define them in a "
                "module that can be imported, or run without jobs"
            )
        )
        return
    torch.set_num_threads(n_threads)
    worker = Worker(bench, store, connection.send)
    # A parent that was interrupted no longer listens, whatever its processes are at.
    with suppress(EOFError, ConnectionError):
        connection.send(_READY)
        while True:
            connection.send(worker.outcome(connection.recv()))
