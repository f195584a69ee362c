"""Which unit is done next, and by whom: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Literal

import torch

from xai_adapters.benchmark.bench import Bench
from xai_adapters.benchmark.blocks import Block, BlockStore, Unit
from xai_adapters.benchmark.worker import Worker
from xai_adapters.errors import (
    InvalidInputError,
    MissingDependencyError,
    NotApplicableError,
    ResultsFolderError,
)

_READY = "ready"

Status = Literal["ok", "error", "not applicable"]


@dataclass
class Lane:
    """An explainer made with one seed, and the units that make it up.

    Args:
        explainer: its name.
        seed: that it is made with.
        blocks: of rows, in order.
        alone: the rows that are asked about one by one, if they are not anyway.

    Attributes:
        pending: the units that are still to be done, in order.
        seconds: spent explaining so far.
        fit_seconds: that making it took; None while nobody knows.
        n_done: units done.
        n_workers: that are at it.
        out_of_time: whether it has had its time, and what is pending was given up.
    """

    explainer: str
    seed: int
    blocks: list[Unit]
    alone: Unit | None
    pending: deque[Unit] = field(init=False)
    seconds: float = 0.0
    fit_seconds: float | None = None
    n_done: int = 0
    n_workers: int = 0
    out_of_time: bool = False

    def __post_init__(self) -> None:
        """At first all is to be done."""
        self.pending = deque(self.blocks + ([self.alone] if self.alone else []))

    def takes_help(self) -> bool:
        """Whether another worker would save more time than it spends on making the explainer."""
        if self.fit_seconds is None or not self.n_done:
            return False
        left = len(self.pending) * self.seconds / self.n_done
        return left / (self.n_workers + 1) > self.fit_seconds


@dataclass
class Dealer:
    """Deals the units of lanes to whoever asks.

    Explainers are dealt first, so that each is made once; a worker that finds none left helps with
    the blocks of another if that pays. What comes out does not depend on it.

    Args:
        lanes: what is to be done.
        time_limit: seconds after which a lane gets no further block.
        on_done: is told of each unit that is done or given up.

    Attributes:
        failures: status and reason of the explainers that came to an end early.
    """

    lanes: Sequence[Lane]
    time_limit: float
    on_done: Callable[[Unit], object] = lambda unit: None
    failures: dict[str, tuple[Status, str]] = field(default_factory=dict)

    def next(self, current: Lane | None) -> tuple[Lane, Unit] | None:
        """The next unit for a worker that was at a lane; None if there is none for it now."""
        for lane in self.lanes:
            self._end_what_is_late(lane)
        open_lanes = [lane for lane in self.lanes if lane.pending]
        chosen = current if current in open_lanes else None
        if chosen is None:
            untouched = [lane for lane in open_lanes if not lane.n_workers]
            helped = [lane for lane in open_lanes if lane.takes_help()]
            chosen = next(iter(untouched or helped), None)
        return None if chosen is None else (chosen, chosen.pending.popleft())

    def done(self, lane: Lane, unit: Unit, facts: dict[str, float]) -> None:
        """Count a unit that is done."""
        lane.seconds += facts["seconds"]
        lane.fit_seconds = facts["fit_seconds"]
        lane.n_done += 1
        self.on_done(unit)

    def failed(self, unit: Unit, status: Status, reason: str) -> None:
        """Give up an explainer, whatever its seed."""
        if status == "error":
            rows = (
                f"row {unit.first}" if unit.n_rows == 1 else f"rows {unit.first} to {unit.end - 1}"
            )
            reason = f"{reason} ({rows})"
        self.failures.setdefault(unit.explainer, (status, reason))
        self.on_done(unit)
        for lane in self.lanes:
            if lane.explainer == unit.explainer:
                self._give_up(lane, list(lane.pending))

    def _end_what_is_late(self, lane: Lane) -> None:
        if lane.seconds > self.time_limit:
            blocks = [unit for unit in lane.pending if not unit.alone]
            lane.out_of_time = lane.out_of_time or bool(blocks)
            self._give_up(lane, blocks)

    def _give_up(self, lane: Lane, units: list[Unit]) -> None:
        for unit in units:
            lane.pending.remove(unit)
            self.on_done(unit)


def do_here(dealer: Dealer, worker: Worker) -> None:
    """Do all units in this process, in order."""
    lane: Lane | None = None
    while dealt := dealer.next(lane):
        lane, unit = dealt
        outcome = _outcome(worker, unit)
        _settle(dealer, lane, unit, outcome)


def do_in_processes(
    dealer: Dealer, bench: Bench, store: BlockStore, n_processes: int, n_threads: int
) -> None:
    """Do all units in processes of their own; an explainer that ends its process is given up.

    Args:
        dealer: deals them.
        bench: the comparison, which is copied to each process.
        store: where finished blocks are kept.
        n_processes: how many.
        n_threads: torch's, in each.

    Raises:
        InvalidInputError: if the model, or an explainer that is no reference, cannot be copied.
    """
    try:
        payload = pickle.dumps((bench, store, n_threads))
    except Exception as error:
        raise InvalidInputError(
            f"model, rows and explainers cannot be handed to other processes: {error}. Define them "
            "in a module that can be imported, or run with one job"
        ) from error
    busy: dict[_Process, tuple[Lane, Unit]] = {}
    idle = [_Process(payload) for _ in range(min(n_processes, len(dealer.lanes)))]
    at: dict[_Process, Lane | None] = {}
    try:
        while True:
            waiting, idle = idle, []
            for process in waiting:
                dealt = dealer.next(at.get(process))
                if dealt is None:
                    idle.append(process)
                    continue
                at[process], busy[process] = dealt[0], dealt
                dealt[0].n_workers += 1
                process.ask(dealt[1])
            if not busy:
                return
            ready = wait_for_any([process.connection for process in busy])
            for process in [each for each in busy if each.connection in ready]:
                outcome = process.outcome()
                if outcome == _READY:
                    continue
                lane, unit = busy.pop(process)
                lane.n_workers -= 1
                if outcome is None:
                    code = process.end()
                    outcome = "error", f"its process ended with exit code {code}"
                    at.pop(process)
                    process = _Process(payload)
                idle.append(process)
                _settle(dealer, lane, unit, outcome)
    finally:
        for process in [*busy, *idle]:
            process.end()


class _Process:
    """A process with a worker in it."""

    def __init__(self, payload: bytes) -> None:
        # Not forked: torch's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        self._ready = False
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, payload), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, unit: Unit) -> None:
        """Let it do a unit."""
        # One that is no more has no outcome either, which is seen to then.
        with suppress(OSError):
            self.connection.send(unit)

    def outcome(self) -> Any:
        """What came of the last unit, or that the process is ready; None if it is no more."""
        try:
            found = self.connection.recv()
        except (EOFError, OSError):
            if self._ready:
                return None
            return InvalidInputError(
                "a process ended before it began to work; what it wrote says why. A script has to "
                "call run_benchmark under `if __name__ == '__main__':`, as processes import it"
            )
        self._ready = True
        return found

    def end(self) -> int | None:
        """End the process, whatever it does; its exit code."""
        self.connection.close()
        self._process.join(timeout=0.2)
        self._process.terminate()
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()
        return self._process.exitcode


def _serve(connection: Connection, payload: bytes) -> None:
    # The parent is told of a Ctrl-C, and ends its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench, store, n_threads = pickle.loads(payload)  # from the parent, never from a file
    except Exception as error:
        connection.send(
            InvalidInputError(
                f"another process cannot make model and explainers: {error}. Define them in a "
                "module that can be imported, or run with one job"
            )
        )
        return
    torch.set_num_threads(n_threads)
    worker = Worker(bench, store)
    connection.send(_READY)
    while True:
        try:
            unit = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(worker, unit))


def _outcome(worker: Worker, unit: Unit) -> dict[str, float] | tuple[Status, str] | Exception:
    """The facts of a unit that was done, why it was not, or what ends the whole run."""
    try:
        block: Block = worker.do(unit)
    except ResultsFolderError as error:
        return error
    except (NotApplicableError, MissingDependencyError) as reason:
        return "not applicable", str(reason)
    except Exception as error:
        # Whatever a foreign explainer raises, the others are still to be compared.
        return "error", " ".join(f"{type(error).__name__}: {error}".split())
    return block.facts


def _settle(dealer: Dealer, lane: Lane, unit: Unit, outcome: Any) -> None:
    if isinstance(outcome, Exception):
        raise outcome
    if isinstance(outcome, tuple):
        dealer.failed(unit, *outcome)
    else:
        dealer.done(lane, unit, outcome)
