"""Entries of the registry, the decorator that makes one of a maker, and what makers return."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict, TypeVar, get_args, runtime_checkable

from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.fimap import Perturbation
from xai_adapters.utils.options import check_choice, named_options
from xai_adapters.utils.references import resolve

Kind = Literal["attribution", "counterfactual"]
Baseline = Literal["none", "black", "mask", "data"]
RankBy = Literal["value", "magnitude"]
Unit = Literal["output", "output/input", "input"]
Reads = Literal["outputs", "probabilities"]
Role = Literal["comparator", "ours", "upper bound", "chance"]
Maker = TypeVar("Maker", bound=Callable[..., Any])


class Explainer(Protocol):
    """What a registered explainer's maker returns.

    It may have `settings` too, plain values by name; results of a benchmark keep them.
    """

    def explain(self, rows: Tensor, target: Tensor) -> Tensor:
        """Scores shaped like `rows`, for the classes `target` (n,)."""


@runtime_checkable
class CounterfactualExplainer(Explainer, Protocol):
    """An explainer that also changes rows so that their class flips."""

    def perturb(self, rows: Tensor, original_class: Tensor) -> Perturbation:
        """Rows, flattened to (n, d), perturbed to leave the classes `original_class` (n,)."""


@runtime_checkable
class CounterfactualGenerator(Protocol):
    """What the maker of an entry of kind "counterfactual" returns."""

    def counterfactuals(self, rows: Tensor, original_class: Tensor) -> Tensor:
        """Rows (n, d) changed to leave their classes (n,); unchanged where none is found."""


@dataclass(frozen=True)
class FunctionExplainer:
    """An explainer that is one function of rows and targets, and its settings."""

    explain: Callable[[Tensor, Tensor], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FunctionGenerator:
    """A counterfactual generator that is one function of rows and their classes."""

    counterfactuals: Callable[[Tensor, Tensor], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ExplainerEntry:
    """An explainer by name.

    Args:
        name: what it is called on the command line and in results.
        summary: what it computes, in one line.
        make: a function of a `Subject` that returns an `Explainer` (for counterfactuals a
            `CounterfactualGenerator`), or "module:function"; it raises `NotApplicableError` with
            the reason where the explainer cannot serve.
        baseline: what "absent" means to it: "none", "black", "mask" (the subject's fill), "data".
        rank_by: whether a feature's relevance is its score's "value" or "magnitude".
        kind: "attribution" for scores of features, "counterfactual" for changed rows.
        block_size: rows given at once; None for all. Small for explainers that loop over rows
            anyway, so that time limits and progress bars can act in between; 1 for those that draw
            from the global generators, so that each row has draws of its own.
        claims: for each axiom of `xai_adapters.axioms` the error that the explainer states of
            itself, 0 for none. To leave an axiom unclaimed, give the reason as a string.
        unit: what scores are measured in: shares of the "output", slopes ("output/input") or
            distances ("input"); None if in nothing.
        reads: whether it explains the model's "outputs" as they are or class "probabilities".
        domain: further limits of what it is made for, settings of `xai_adapters.axioms.Domain`.
        role: in a comparison: one of "ours", a "comparator", or a reference: the "upper bound" of
            what can be reached, or "chance".
        host: the module of the library that the maker imports, if any.
    """

    name: str
    summary: str
    make: str | Callable[..., Any]
    baseline: Baseline = "none"
    rank_by: RankBy = "value"
    kind: Kind = "attribution"
    block_size: int | None = None
    claims: Mapping[str, float | str] = field(default_factory=dict)
    unit: Unit | None = None
    reads: Reads = "outputs"
    domain: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "comparator"
    host: str | None = None

    def __post_init__(self) -> None:
        """Refuse facts that are none of their choices, before anything is computed."""
        for name, choices in (
            ("baseline", get_args(Baseline)),
            ("rank_by", get_args(RankBy)),
            ("kind", get_args(Kind)),
            ("unit", (*get_args(Unit), None)),
            ("reads", get_args(Reads)),
            ("role", get_args(Role)),
        ):
            check_choice(name, getattr(self, name), choices)

    @property
    def is_reference(self) -> bool:
        """Whether others are measured against it, and it is not ranked among them."""
        return self.role in ("upper bound", "chance")

    def load(self) -> Callable[..., Any]:
        """Import maker and host, so that imports are not counted as part of making an explainer."""
        if self.host is not None:
            # The maker says what is missing, and how to install it.
            with suppress(ImportError):
                importlib.import_module(self.host)
        maker: Callable[..., Any]
        maker = resolve(self.make) if isinstance(self.make, str) else self.make
        return maker


class EntryFacts(TypedDict, total=False):
    """The facts of an `ExplainerEntry` that `registered` takes."""

    baseline: Baseline
    rank_by: RankBy
    kind: Kind
    block_size: int | None
    claims: Mapping[str, float | str]
    unit: Unit | None
    reads: Reads
    domain: Mapping[str, Any]
    role: Role
    host: str | None


@named_options(ExplainerEntry, only=EntryFacts.__annotations__)
def registered(**facts: Unpack[EntryFacts]) -> Callable[[Maker], Maker]:
    """Register a maker: its name is the explainer's, its docstring's first line the summary.

    That is all it takes in a module of `xai_adapters.explainers`; another package names its maker
    in an entry point of the group `xai_adapters.explainers`.

    Args:
        **facts: of the `ExplainerEntry`. By default counterfactuals read probabilities, as
            decisions do.

    Returns:
        A decorator that gives the maker an attribute `entry`, and leaves it as it is otherwise.

    Example:
        >>> @registered(rank_by="magnitude", unit="output/input")
        ... def saliency(subject: Subject) -> Explainer:
        ...     '''Gradient.'''
        >>> entry_of(saliency).summary
        'Gradient'
    """

    def register(maker: Maker) -> Maker:
        summary = (inspect.getdoc(maker) or "").partition("\n")[0].removesuffix(".")
        if facts.get("kind") == "counterfactual":
            facts.setdefault("reads", "probabilities")
        entry = ExplainerEntry(maker.__name__, summary, maker, **facts)
        maker.entry = entry  # type: ignore[attr-defined]
        return maker

    return register


def entry_of(thing: object) -> ExplainerEntry | None:
    """The entry that something is, or that a registered maker carries; else None."""
    entry = getattr(thing, "entry", thing)
    return entry if isinstance(entry, ExplainerEntry) else None
