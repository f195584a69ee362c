"""One worker: makes explainers, gives them blocks of rows, and measures and saves the results."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xai_adapters.benchmark.metrics.attribution_metric import Explain
from xai_adapters.benchmark.run.bench import Bench, wait
from xai_adapters.benchmark.run.blocks import Block, BlockResult, BlockStore
from xai_adapters.benchmark.run.peak_memory import PeakMemory
from xai_adapters.benchmark.run.query_counter import QueryCounter, count_queries
from xai_adapters.errors import MissingDependencyError, NotApplicableError, ResultsFolderError
from xai_adapters.model.random_state import derived_seed, seeded

Status = Literal["ok", "error", "not applicable"]
# The costs of a block that was done, why another was not, or an error that ends the whole run.
Outcome = dict[str, float] | tuple[Status, str] | Exception
# What a worker does for a block, in this order.
Stage = Literal["make", "explain", "measure"]
STAGES = get_args(Stage)

# Rows are timed one by one for this many seconds, but at least this many rows.
_SECONDS_ROW_BY_ROW, _MIN_ROWS = 10.0, 3
# Costs of a block: whether the explainer worked in place on the copies it was given.
OVERWRITES_BACKGROUND, OVERWRITES_ROWS = "overwrites_background", "overwrites_rows"


@dataclass
class _MadeExplainer:
    """An explainer with counters of its queries and memory, and the costs of making it.

    `of_other_models` holds the same explainer made for other models, by their names.
    """

    explainer: Any
    counter: QueryCounter
    memory: PeakMemory
    costs: dict[str, float]
    settings: dict[str, Any]
    of_other_models: dict[str, Any] = field(default_factory=dict)

    def peak_memory(self) -> dict[str, float]:
        """The most bytes held while it was made or since the last call, where they are known."""
        taken = self.memory.taken()
        return {} if taken is None else {"peak_memory": max(taken, self.costs["peak_memory"])}


class Worker:
    """Does blocks of a comparison, one after another.

    The last explainer made is kept, because fitting one may take minutes. Before each block the
    global random states are seeded from the explainer's name, its seed and the block's first row,
    so that the result depends neither on the worker nor on earlier blocks.

    Args:
        bench: the comparison.
        store: where results are saved.
        on_stage: called with each stage that begins.
    """

    def __init__(
        self,
        bench: Bench,
        store: BlockStore,
        on_stage: Callable[[Stage], object] = lambda stage: None,
    ) -> None:
        self.bench, self.store, self.on_stage = bench, store, on_stage
        self._last: tuple[str, int] | None = None
        self._made: _MadeExplainer | None = None
        self._warm_up()

    def _warm_up(self) -> None:
        """Call the model once, so that the first explainer does not pay for the first call."""
        task = self.bench.task
        row = task.rows[:1].detach().clone()
        # If the model fails, its later calls report that.
        with seeded(0, row.device), warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            self.bench.black_box.probabilities(row)
            if task.differentiable:
                torch.autograd.grad(task.model(row.requires_grad_()).sum(), row)

    def outcome(self, block: Block) -> Outcome:
        """Do a block and save its result, whatever the explainer raises."""
        try:
            return self.do(block).costs
        except ResultsFolderError as error:
            return error
        except (NotApplicableError, MissingDependencyError) as reason:
            return "not applicable", str(reason)
        except Exception as error:
            # Whatever an explainer raises, the others are still to be compared.
            return "error", " ".join(f"{type(error).__name__}: {error} ({block})".split())

    def do(self, block: Block) -> BlockResult:
        """Do a block and save its result; what the explainer raises is passed on.

        Raises:
            ResultsFolderError: if the result cannot be saved.
        """
        if self._made is None or self._last != (block.explainer, block.seed):
            # The previous explainer's memory is free before the next one's is counted.
            self._made, self._last = None, None
            self._made = self._make(block)
            self._last = block.explainer, block.seed
        made = self._made
        # Start counting again: measuring is not the explainer's work.
        made.peak_memory()
        made.counter.taken()
        result = (self._time_rows if block.row_by_row else self._explain)(block, made)
        result.costs = made.costs | result.costs
        result.settings = made.settings
        self.store.save(block, result)
        return result

    def _make(self, block: Block) -> _MadeExplainer:
        task, counter = self.bench.task, QueryCounter()
        make = self.bench.entries[block.explainer].load()
        memory = PeakMemory(task.rows.device)
        # A copy: a method that fails may leave its hooks behind.
        model = count_queries(copy.deepcopy(task.model), counter)
        subject = self.bench.subject(model, block.seed)
        self.on_stage("make")
        with self._reproducible(block, "make"):
            start = time.perf_counter()
            explainer = make(subject)
            wait(task.rows)
            seconds = time.perf_counter() - start
        costs = {
            "fit_seconds": seconds,
            "fit_queries": float(counter.taken().rows),
            OVERWRITES_BACKGROUND: float(not torch.equal(subject.background, task.background)),
        }
        bytes_held = memory.taken()
        if bytes_held is not None:
            costs["peak_memory"] = bytes_held
        return _MadeExplainer(explainer, counter, memory, costs, _settings(explainer))

    def _explain(self, block: Block, made: _MadeExplainer) -> BlockResult:
        """Explain the rows at once, and measure the explanations."""
        entry, explain = self.bench.entries[block.explainer], self.bench.call(made.explainer)
        rows, classes = self._lent(block.rows)
        self.on_stage("explain")
        with self._reproducible(block, "explain"):
            start = time.perf_counter()
            explanations = explain(rows, classes)
            wait(rows)
            seconds = time.perf_counter() - start
        queries, memory = made.counter.taken(), made.peak_memory()
        overwrites = not torch.equal(rows, self.bench.task.rows[block.rows])
        explanations = self.bench.checked(explanations, block.rows)
        self.on_stage("measure")
        with self._reproducible(block, "measure"):
            explain_model = partial(self._explain_model, block, made)
            values = self.bench.measure(
                entry, made.explainer, block.rows, explanations, explain_model
            )
        return BlockResult(
            self.bench.to_keep(entry, explanations),
            {name: each.double() for name, each in values.items()},
            {
                "seconds": seconds,
                "model_seconds": queries.seconds,
                "queries": float(queries.rows),
                OVERWRITES_ROWS: float(overwrites),
                **memory,
            },
        )

    def _time_rows(self, block: Block, made: _MadeExplainer) -> BlockResult:
        """Explain the rows one by one, for their latencies."""
        explain, task = self.bench.call(made.explainer), self.bench.task
        latencies: list[float] = []
        own_latencies: list[float] = []
        max_queries = 0
        self.on_stage("explain")
        for row in range(block.first, block.end):
            if sum(latencies) > _SECONDS_ROW_BY_ROW and len(latencies) >= _MIN_ROWS:
                break
            lent = self._lent(slice(row, row + 1))
            with self._reproducible(block, row):
                start = time.perf_counter()
                explain(*lent)
                wait(task.rows)
                latencies.append(time.perf_counter() - start)
            queries = made.counter.taken()
            own_latencies.append(latencies[-1] - queries.seconds)
            max_queries = max(max_queries, queries.rows)
        return BlockResult(
            costs={"seconds": 0.0, "most_queries_of_a_row": float(max_queries)},
            latencies={"latency": latencies, "own_latency": own_latencies},
        )

    def _lent(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Copies of some rows and their classes: an explainer may work in place."""
        return self.bench.task.rows[rows].clone(), self.bench.predicted[rows].clone()

    def _explain_model(self, block: Block, made: _MadeExplainer, name: str, model: Any) -> Explain:
        """The call of the same explainer, made for another model."""
        if name not in made.of_other_models:
            make = self.bench.entries[block.explainer].load()
            with self._reproducible(block, "make"):
                made.of_other_models[name] = make(self.bench.subject(model, block.seed))
        call = self.bench.call(made.of_other_models[name])

        def explain(rows: Tensor, classes: Tensor) -> Tensor:
            with self._reproducible(block, "explain"):
                return call(rows, classes)

        return explain

    @contextmanager
    def _reproducible(self, block: Block, purpose: object) -> Iterator[None]:
        """The same random numbers on any worker at any time, and no warnings.

        All explainers are measured with the same random numbers; each is made and explains with its
        own.
        """
        source = (self.bench.seed,) if purpose == "measure" else (block.explainer, block.seed)
        parts = (*source, purpose, None if purpose == "make" else block.first)
        with (
            seeded(derived_seed(*parts), self.bench.task.rows.device),
            warnings.catch_warnings(),
        ):
            # Hosts warn about changes to a model that is a copy here.
            warnings.simplefilter("ignore")
            yield


def _settings(explainer: Any) -> dict[str, Any]:
    """The settings that an explainer reports of itself, as values of JSON."""
    settings = getattr(explainer, "settings", None)
    if not isinstance(settings, Mapping):
        return {}
    return {str(name): _plain(value) for name, value in settings.items()}


def _plain(value: Any) -> Any:
    """A setting as a value of JSON: arrays as lists, classes and other objects by their name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return getattr(value, "__name__", type(value).__name__)
