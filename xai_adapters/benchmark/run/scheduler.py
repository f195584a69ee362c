"""Which unit is done next, and when an explainer is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xai_adapters.benchmark.run.blocks import Unit
from xai_adapters.benchmark.run.worker import Outcome, Stage, Status, Worker

_DOINGS: dict[Stage, str] = {"make": "fit", "explain": "explain {}", "measure": "be measured on {}"}


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
        cut_short: why what was pending was given up, if it was.
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
    cut_short: str = ""

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
        time_limit: seconds after which a lane gets no further block, and that one may take at most.
        fit_limit: seconds that making an explainer, or measuring a block, may take.
        on_done: is told of each unit that is done or given up.

    Attributes:
        failures: status and reason by the unit at which an explainer came to an early end.
    """

    lanes: Sequence[Lane]
    time_limit: float
    fit_limit: float
    on_done: Callable[[Unit], object] = lambda unit: None
    failures: dict[Unit, tuple[Status, str]] = field(default_factory=dict)

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

    def failure(self, explainer: str) -> tuple[Status, str] | None:
        """Why an explainer came to an early end, if it did: of several units, at the first."""
        failed = [unit for unit in self.failures if unit.explainer == explainer]
        return self.failures[min(failed)] if failed else None

    def has_more(self) -> bool:
        """Whether there is a unit that nobody is at yet."""
        return any(lane.pending for lane in self.lanes)

    def settle(self, lane: Lane, unit: Unit, outcome: Outcome) -> None:
        """Take note of what came of a unit; what ends the whole run is raised."""
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, tuple):
            self._failed(unit, *outcome)
        else:
            self.done(lane, unit, outcome)

    def done(self, lane: Lane, unit: Unit, facts: dict[str, float]) -> None:
        """Count a unit that is done."""
        lane.seconds += facts["seconds"]
        lane.fit_seconds = facts["fit_seconds"]
        lane.n_done += 1
        self.on_done(unit)

    def limit(self, stage: Stage) -> float:
        """Seconds that a worker may be at a stage of a unit."""
        return self.time_limit if stage == "explain" else self.fit_limit

    def ended(self, lane: Lane, unit: Unit, stage: Stage) -> None:
        """Give up a lane whose unit took longer than it may; what it has finished is kept."""
        doing = _DOINGS[stage].format(unit)
        reason = f"took longer than {self.limit(stage):g} s to {doing}, and was ended"
        if unit == lane.blocks[0]:
            self._failed(unit, "error", reason)
            return
        # Rows that nobody explained weigh more than rows that were to be asked about alone, and
        # either may be ended first.
        if not (unit.alone and lane.cut_short):
            lane.cut_short = reason
        self.on_done(unit)
        self._give_up(lane, list(lane.pending))

    def _failed(self, unit: Unit, status: Status, reason: str) -> None:
        """Give up an explainer, whatever its seed."""
        lanes = [lane for lane in self.lanes if lane.explainer == unit.explainer]
        if status == "error" and len(lanes) > 1:
            reason += f" (seed {unit.seed})"
        self.failures[unit] = status, reason
        self.on_done(unit)
        for lane in lanes:
            self._give_up(lane, list(lane.pending))

    def _end_what_is_late(self, lane: Lane) -> None:
        # The first is done in any case, as nothing can be said of an explainer without.
        blocks = [unit for unit in lane.pending if not unit.alone and unit != lane.blocks[0]]
        if blocks and lane.seconds > self.time_limit:
            lane.cut_short = f"stopped after {self.time_limit:g} s"
            self._give_up(lane, blocks)

    def _give_up(self, lane: Lane, units: list[Unit]) -> None:
        for unit in units:
            lane.pending.remove(unit)
            self.on_done(unit)


def do_here(dealer: Dealer, worker: Worker) -> None:
    """Do all units in this process, in order; one that does not come to an end is waited for."""
    lane: Lane | None = None
    while dealt := dealer.next(lane):
        lane, unit = dealt
        dealer.settle(lane, unit, worker.outcome(unit))
