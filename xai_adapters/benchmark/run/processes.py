"""Blocks done in worker processes, which are ended if they take too long."""

from __future__ import annotations

import math
import pickle
from multiprocessing.connection import Connection

import torch

from xai_adapters.benchmark.run.bench import Bench
from xai_adapters.benchmark.run.blocks import Block, BlockStore
from xai_adapters.benchmark.run.scheduler import Job, Scheduler
from xai_adapters.benchmark.run.worker import STAGES, Stage, Worker
from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.process_pool import (
    Ended,
    Event,
    Late,
    Said,
    WorkerProcess,
    next_events,
    serve_requests,
)


class HandOverError(InvalidInputError):
    """Model, rows or explainers cannot be copied to another process."""


def run_in_processes(
    scheduler: Scheduler, bench: Bench, store: BlockStore, n_processes: int, n_threads: int
) -> None:
    """Do all blocks in worker processes.

    An explainer that ends its process, or exceeds a limit, is given up; the others go on.

    Args:
        scheduler: the blocks to be done.
        bench: the comparison, which is copied to each process.
        store: where results are saved.
        n_processes: number of processes.
        n_threads: torch's threads in each process.

    Raises:
        HandOverError: if the model, or an explainer that is not a reference, cannot be copied.
    """
    try:
        payload = pickle.dumps((bench, store, n_threads))
    except Exception as error:
        raise HandOverError(
            f"model, rows and explainers cannot be copied to other processes: {error}. Define them "
            "in a module that can be imported, or run without jobs"
        ) from error
    n_blocks = sum(len(job.pending) for job in scheduler.jobs)
    processes = [_Process(payload) for _ in range(min(n_processes, n_blocks))]
    try:
        while busy := [process for process in processes if process.is_busy(scheduler)]:
            for process, event in next_events(busy):
                if not process.lives_after(event, scheduler):
                    processes.remove(process)
                    if scheduler.has_more():
                        processes.append(_Process(payload))
    finally:
        for process in processes:
            process.end()


class _Process(WorkerProcess):
    """A process with a worker in it, and the block it is doing.

    Args:
        payload: the pickled comparison, store and number of threads.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__(_serve, payload)
        self._last_job: Job | None = None
        self._current: tuple[Job, Block] | None = None
        self._stage: Stage | None = None

    def is_busy(self, scheduler: Scheduler) -> bool:
        """Whether it is doing a block; an idle process gets the next, if there is one for it."""
        if self._current is None:
            self._current = scheduler.next(self._last_job)
            if self._current is None:
                return False
            self._last_job, block = self._current
            self._last_job.n_workers += 1
            self.send(block)
        return True

    def lives_after(self, event: Event, scheduler: Scheduler) -> bool:
        """Record an event of the process; false if it has ended."""
        match event:
            case Said(stage) if stage in STAGES:
                self._stage = stage
                self.allow(scheduler.limit(stage))
            case Said(outcome):
                scheduler.settle(*self._finish_block(), outcome)
            case Late():
                stage = self._stage
                assert stage is not None
                scheduler.ended(*self._finish_block(), stage)
            case Ended(how):
                if not self.is_ready:
                    raise InvalidInputError(
                        "a process ended before it began to work; what it wrote says why. A script "
                        "has to call run_benchmark under `if __name__ == '__main__':`, as "
                        "processes import it"
                    )
                job, block = self._finish_block()
                scheduler.settle(job, block, ("error", f"its process {how} ({block})"))
        return isinstance(event, Said)

    def _finish_block(self) -> tuple[Job, Block]:
        """The block it was doing, which it no longer does."""
        assert self._current is not None
        finished, self._current, self._stage = self._current, None, None
        finished[0].n_workers -= 1
        self.allow(math.inf)
        return finished


def _serve(connection: Connection, payload: bytes) -> None:
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
    serve_requests(connection, Worker(bench, store, connection.send).outcome)
