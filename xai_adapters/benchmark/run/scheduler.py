"""The scheduler: which block is next, and when an explainer is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xai_adapters.benchmark.run.blocks import Block
from xai_adapters.benchmark.run.worker import Outcome, Stage, Status, Worker

_WORK: dict[Stage, str] = {"make": "fit", "explain": "explain {}", "measure": "be measured on {}"}


@dataclass
class Job:
    """An explainer made with one seed, and its blocks.

    Args:
        explainer: its name.
        seed: the seed it is made with.
        blocks: its blocks, in order.
        row_by_row: a further block that times rows one by one, if the others do not.

    Attributes:
        pending: blocks to be done, in order.
        seconds: seconds spent explaining so far.
        fit_seconds: seconds of the fit; None until one is finished.
        n_done: number of blocks done.
        n_workers: number of workers busy with the job.
        cut_short: why pending blocks were given up, if they were.
    """

    explainer: str
    seed: int
    blocks: list[Block]
    row_by_row: Block | None
    pending: deque[Block] = field(init=False)
    seconds: float = 0.0
    fit_seconds: float | None = None
    n_done: int = 0
    n_workers: int = 0
    cut_short: str = ""

    def __post_init__(self) -> None:
        """Make all blocks pending."""
        self.pending = deque(self.blocks + ([self.row_by_row] if self.row_by_row else []))

    def gains_from_help(self) -> bool:
        """Whether one more worker would save more time than it spends on making the explainer."""
        if self.fit_seconds is None or not self.n_done:
            return False
        seconds_left = len(self.pending) * self.seconds / self.n_done
        return seconds_left / (self.n_workers + 1) > self.fit_seconds


@dataclass
class Scheduler:
    """Gives workers their next block.

    Each worker gets a job of its own first, so that each explainer is made once; a worker that
    finds none left helps with another's if that saves time. The results do not depend on it.

    Args:
        jobs: the jobs.
        time_limit: seconds of explaining after which a job gets no further block, and that a block
            may take at most.
        fit_limit: seconds that making an explainer, or measuring a block, may take.
        on_done: called with each block that is done or given up.

    Attributes:
        failures: status and reason, by the block at which an explainer failed.
    """

    jobs: Sequence[Job]
    time_limit: float
    fit_limit: float
    on_done: Callable[[Block], object] = lambda block: None
    failures: dict[Block, tuple[Status, str]] = field(default_factory=dict)

    def next(self, current: Job | None) -> tuple[Job, Block] | None:
        """The next block of a worker whose last job was `current`; None if there is none now."""
        for job in self.jobs:
            self._cut_short_if_late(job)
        pending = [job for job in self.jobs if job.pending]
        chosen = current if current in pending else None
        if chosen is None:
            free = [job for job in pending if not job.n_workers]
            helped = [job for job in pending if job.gains_from_help()]
            chosen = next(iter(free or helped), None)
        return None if chosen is None else (chosen, chosen.pending.popleft())

    def failure(self, explainer: str) -> tuple[Status, str] | None:
        """Why an explainer failed, at the first of its blocks that did; None if it did not."""
        failed = [block for block in self.failures if block.explainer == explainer]
        return self.failures[min(failed)] if failed else None

    def has_more(self) -> bool:
        """Whether there is a block that no worker has begun."""
        return any(job.pending for job in self.jobs)

    def settle(self, job: Job, block: Block, outcome: Outcome) -> None:
        """Record the outcome of a block; an error that ends the whole run is raised."""
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, tuple):
            self._fail(block, *outcome)
        else:
            self.done(job, block, outcome)

    def done(self, job: Job, block: Block, costs: dict[str, float]) -> None:
        """Record a block that is done."""
        job.seconds += costs["seconds"]
        job.fit_seconds = costs["fit_seconds"]
        job.n_done += 1
        self.on_done(block)

    def limit(self, stage: Stage) -> float:
        """Seconds that a stage of a block may take."""
        return self.time_limit if stage == "explain" else self.fit_limit

    def ended(self, job: Job, block: Block, stage: Stage) -> None:
        """Give up a job whose worker was ended at its limit; finished blocks are kept."""
        work = _WORK[stage].format(block)
        reason = f"took longer than {self.limit(stage):g} s to {work}, and was ended"
        if block == job.blocks[0]:
            self._fail(block, "error", reason)
            return
        # Unexplained rows matter more than missing latencies, and either may be ended first.
        if not (block.row_by_row and job.cut_short):
            job.cut_short = reason
        self.on_done(block)
        self._give_up(job, list(job.pending))

    def _fail(self, block: Block, status: Status, reason: str) -> None:
        """Give up an explainer with all its seeds."""
        jobs = [job for job in self.jobs if job.explainer == block.explainer]
        if status == "error" and len(jobs) > 1:
            reason += f" (seed {block.seed})"
        self.failures[block] = status, reason
        self.on_done(block)
        for job in jobs:
            self._give_up(job, list(job.pending))

    def _cut_short_if_late(self, job: Job) -> None:
        # The first block is always done: without it nothing can be said of an explainer.
        blocks = [block for block in job.pending if not block.row_by_row and block != job.blocks[0]]
        if blocks and job.seconds > self.time_limit:
            job.cut_short = f"stopped after {self.time_limit:g} s"
            self._give_up(job, blocks)

    def _give_up(self, job: Job, blocks: list[Block]) -> None:
        for block in blocks:
            job.pending.remove(block)
            self.on_done(block)


def run_here(scheduler: Scheduler, worker: Worker) -> None:
    """Do all blocks in this process, in order; one that hangs cannot be ended."""
    job: Job | None = None
    while scheduled := scheduler.next(job):
        job, block = scheduled
        scheduler.settle(job, block, worker.outcome(block))
