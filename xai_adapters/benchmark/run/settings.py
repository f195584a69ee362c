"""What may be set about a run, whatever is compared on."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xai_adapters.benchmark.metrics.measuring import check_names
from xai_adapters.benchmark.tasks.task import Comparison
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import ExplainerEntry, explainer_entry, explainer_names
from xai_adapters.utils.references import is_reference, resolve

# They change no number, but how many there are.
LIMITS = ("time_limit", "fit_limit")


@dataclass(frozen=True)
class Settings:
    """What the numbers of a run depend on, beside model, rows and explainers.

    Args:
        seed: of the explainers, of the order among ties and of resamples.
        n_seeds: how often each explainer is made and asked, with `seed` and the numbers after it;
            what is measured of a row is the mean.
        block_size: rows given to an explainer at once, at most; None for as many as it takes. What
            is finished is kept block by block.
        time_limit: seconds after which an explainer gets no further block of rows, and after which
            one that is still at a block is ended if it has a process of its own; it is measured on
            the rows it finished.
        fit_limit: seconds after which one is ended that is still being made, or whose block is
            still being measured.
        threads: torch's, on which sums depend in the last digit; None for what torch has.
        metrics: what is measured of attributions, names of `measures.MEASURES` or "quantus:Name";
            what costs little if None.
        fills: what masked pixels become, beside the task's own mask: names of
            `masking_curve.FILLS`.
    """

    seed: int = 0
    n_seeds: int = 1
    block_size: int | None = None
    time_limit: float = 300.0
    threads: int | None = None
    metrics: tuple[str, ...] | None = None
    fills: tuple[str, ...] = ()
    fit_limit: float = 1800.0

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        check_names(self.metrics or (), self.fills)
        for name in LIMITS:
            if not getattr(self, name) > 0:
                raise InvalidInputError(
                    f"the {name.replace('_', ' ')} must be positive; it is {getattr(self, name)} "
                    "seconds"
                )
        if self.n_seeds < 1:
            raise InvalidInputError(f"at least one seed is needed, not {self.n_seeds}")
        for name in ("block_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name} must be at least 1; it is {value}")

    @property
    def seeds(self) -> range:
        """The seeds that each explainer is made with."""
        return range(self.seed, self.seed + self.n_seeds)

    def to_dict(self, entries: Sequence[ExplainerEntry]) -> dict[str, Any]:
        """The settings in plain values, with the names of the explainers."""
        return {"explainers": [entry.name for entry in entries], **dataclasses.asdict(self)}


def check_jobs(jobs: int | None) -> None:
    """Refuse a number of processes below 1."""
    if jobs is not None and jobs < 1:
        raise InvalidInputError(f"at least one job is needed, not {jobs}")


def entries_of(
    explainers: Sequence[str | ExplainerEntry] | None, compares: Comparison
) -> list[ExplainerEntry]:
    """The explainers asked for, each once.

    Raises:
        UnknownNameError: for one that is not registered.
        InvalidInputError: for none, or one that does not make what is compared.
    """
    named = explainer_names(compares) if explainers is None else explainers
    entries = {entry.name: entry for entry in (explainer_of(each, compares) for each in named)}
    if not entries:
        raise InvalidInputError("no explainers were named; leave them out to compare all")
    for entry in entries.values():
        if entry.kind != compares:
            raise InvalidInputError(
                f"{entry.name} makes {entry.kind}s, and this task compares {compares}s: "
                f"{', '.join(explainer_names(compares))}"
            )
    return list(entries.values())


def explainer_of(named: str | ExplainerEntry, compares: Comparison) -> ExplainerEntry:
    """An explainer by its registered name, or by a reference to its entry or its maker.

    Args:
        named: a name, "module:attribute", or the entry itself.
        compares: what a maker that says nothing more is taken to make.

    Raises:
        UnknownNameError: for a name that is not registered.
        InvalidInputError: for a reference to something else.
    """
    if isinstance(named, ExplainerEntry):
        return named
    if not is_reference(named):
        return explainer_entry(named)
    found = resolve(named)
    if isinstance(found, ExplainerEntry):
        return found
    if not callable(found):
        raise InvalidInputError(
            f"'{named}' is a {type(found).__name__}; an ExplainerEntry, or a function that makes "
            "an explainer for a Subject, was expected"
        )
    summary = (inspect.getdoc(found) or "").partition("\n")[0]
    # The reference, which other processes can import.
    return ExplainerEntry(named, summary, named, kind=compares)
