"""One worker: makes explainers, asks them about blocks of rows, measures and keeps the answers."""

from __future__ import annotations

import copy
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.measures import Explain
from xai_adapters.benchmark.run.bench import Bench, wait
from xai_adapters.benchmark.run.blocks import Block, BlockStore, Unit
from xai_adapters.benchmark.run.peak_memory import PeakMemory
from xai_adapters.benchmark.run.query_counter import Meter, metered
from xai_adapters.errors import MissingDependencyError, NotApplicableError, ResultsFolderError
from xai_adapters.model.random_state import derived_seed, seeded

Status = Literal["ok", "error", "not applicable"]
# Of a unit that was done its facts, of another why it was not, or what ends the whole run.
Outcome = dict[str, float] | tuple[Status, str] | Exception
# What a worker is at, one after another.
Stage = Literal["make", "explain", "measure"]
STAGES = get_args(Stage)

# Rows are timed one by one until so many seconds are spent, but at least so many rows.
_SECONDS_ALONE, _LEAST_ALONE = 10.0, 3


@dataclass
class _Made:
    """An explainer, the count of what it asks, what it cost to make, and others of other models."""

    explainer: Any
    meter: Meter
    memory: PeakMemory
    facts: dict[str, float]
    settings: dict[str, Any]
    others: dict[str, Any] = field(default_factory=dict)

    def held(self) -> dict[str, float]:
        """The most memory that making it, or what it did since it was asked last, has held."""
        taken = self.memory.taken()
        return {} if taken is None else {"peak_memory": max(taken, self.facts["peak_memory"])}


class Worker:
    """Does units of a comparison, one after another.

    The last explainer made is kept, as to fit one may take minutes. Before each block the global
    random states are seeded from the explainer's name, its seed and the block's first row, so that
    the answer depends neither on which worker gives it nor on what was asked before.

    Args:
        bench: the comparison.
        store: where finished blocks are kept.
        on_stage: is told what the worker is at.
    """

    def __init__(
        self,
        bench: Bench,
        store: BlockStore,
        on_stage: Callable[[Stage], object] = lambda stage: None,
    ) -> None:
        self.bench, self.store, self.on_stage = bench, store, on_stage
        self._last: tuple[str, int] | None = None
        self._made: _Made | None = None
        self._warm_up()

    def _warm_up(self) -> None:
        """Have the model called once, so that the first explainer does not pay for first times."""
        task = self.bench.task
        row = task.rows[:1].detach().clone()
        # Whatever is wrong with the model, those that call it tell of it.
        with seeded(0, row.device), warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            self.bench.black_box.probabilities(row)
            if task.differentiable:
                torch.autograd.grad(task.model(row.requires_grad_()).sum(), row)

    def outcome(self, unit: Unit) -> Outcome:
        """Do a unit and keep what came of it, whatever the explainer raises."""
        try:
            return self.do(unit).facts
        except ResultsFolderError as error:
            return error
        except (NotApplicableError, MissingDependencyError) as reason:
            return "not applicable", str(reason)
        except Exception as error:
            # Whatever a foreign explainer raises, the others are still to be compared.
            return "error", " ".join(f"{type(error).__name__}: {error} ({unit})".split())

    def do(self, unit: Unit) -> Block:
        """Do a unit and keep what came of it; whatever the explainer raises is passed on.

        Raises:
            ResultsFolderError: if it cannot be kept.
        """
        made = self._explainer(unit)
        made.held()  # what measuring held is not the explainer's
        block = self._alone(unit, made) if unit.alone else self._together(unit, made)
        block.facts = made.facts | block.facts
        block.settings = made.settings
        self.store.save(unit, block)
        return block

    def _explainer(self, unit: Unit) -> _Made:
        if self._made is None or self._last != (unit.explainer, unit.seed):
            # The former one's memory is free before the next one's is counted.
            self._made, self._last = None, None
            self._made = self._make(unit)
            self._last = unit.explainer, unit.seed
        return self._made

    def _make(self, unit: Unit) -> _Made:
        task, meter = self.bench.task, Meter()
        make = self.bench.entries[unit.explainer].load()
        memory = PeakMemory(task.rows.device)
        # A copy: a method that fails may leave its hooks behind.
        model = metered(copy.deepcopy(task.model), meter)
        subject = self.bench.subject(model, unit.seed)
        self.on_stage("make")
        with self._circumstances(unit, "make"):
            start = time.perf_counter()
            explainer = make(subject)
            wait(task.rows)
            seconds = time.perf_counter() - start
        facts = {"fit_seconds": seconds, "fit_queries": float(meter.taken().rows)}
        held = memory.taken()
        if held is not None:
            facts["peak_memory"] = held
        return _Made(explainer, meter, memory, facts, _settings(explainer))

    def _together(self, unit: Unit, made: _Made) -> Block:
        entry, ask = self.bench.entries[unit.explainer], self.bench.ask(made.explainer)
        rows, classes = self.bench.task.rows[unit.rows], self.bench.predicted[unit.rows]
        made.meter.taken()
        self.on_stage("explain")
        with self._circumstances(unit, "explain"):
            start = time.perf_counter()
            answer = ask(rows, classes)
            wait(rows)
            seconds = time.perf_counter() - start
        asked, held = made.meter.taken(), made.held()
        answer = self.bench.checked(answer, unit.rows)
        self.on_stage("measure")
        with self._circumstances(unit, "measure"):
            of_model = partial(self._of_model, unit, made)
            values = self.bench.measure(entry, made.explainer, unit.rows, answer, of_model)
        return Block(
            self.bench.kept(entry, answer),
            {name: found.double() for name, found in values.items()},
            {
                "seconds": seconds,
                "model_seconds": asked.seconds,
                "queries": float(asked.rows),
                **held,
            },
        )

    def _alone(self, unit: Unit, made: _Made) -> Block:
        ask, task = self.bench.ask(made.explainer), self.bench.task
        latencies: list[float] = []
        own: list[float] = []
        most = 0
        made.meter.taken()
        self.on_stage("explain")
        for row in range(unit.first, unit.end):
            if sum(latencies) > _SECONDS_ALONE and len(latencies) >= _LEAST_ALONE:
                break
            with self._circumstances(unit, row):
                start = time.perf_counter()
                ask(task.rows[row : row + 1], self.bench.predicted[row : row + 1])
                wait(task.rows)
                latencies.append(time.perf_counter() - start)
            asked = made.meter.taken()
            own.append(latencies[-1] - asked.seconds)
            most = max(most, asked.rows)
        return Block(
            facts={"seconds": 0.0, "most_queries_of_a_row": float(most)},
            latencies={"latency": latencies, "own_latency": own},
        )

    def _of_model(self, unit: Unit, made: _Made, name: str, model: Any) -> Explain:
        """The explainer's call if it had been made for another model."""
        if name not in made.others:
            make = self.bench.entries[unit.explainer].load()
            with self._circumstances(unit, "make"):
                made.others[name] = make(self.bench.subject(model, unit.seed))
        ask = self.bench.ask(made.others[name])

        def answer(rows: Tensor, classes: Tensor) -> Tensor:
            with self._circumstances(unit, "explain"):
                return ask(rows, classes)

        return answer

    @contextmanager
    def _circumstances(self, unit: Unit, purpose: object) -> Iterator[None]:
        """The same random numbers whoever does it and when, and no warnings.

        All explainers are measured with the same numbers, each is made and asked with its own.
        """
        asked = (self.bench.seed,) if purpose == "measure" else (unit.explainer, unit.seed)
        parts = (*asked, purpose, None if purpose == "make" else unit.first)
        with (
            seeded(derived_seed(*parts), self.bench.task.rows.device),
            warnings.catch_warnings(),
        ):
            # Hosts warn about what they do to a model; this one is a copy.
            warnings.simplefilter("ignore")
            yield


def _settings(explainer: Any) -> dict[str, Any]:
    """The settings that an explainer says it has, as JSON holds them."""
    settings = getattr(explainer, "settings", None)
    if not isinstance(settings, Mapping):
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(dict(settings), default=repr))
    return plain
