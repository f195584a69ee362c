"""The explainers of a run, by name, by reference, or as entries."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from xai_adapters.benchmark.tasks.task import Comparison
from xai_adapters.errors import InvalidInputError
from xai_adapters.registry import ExplainerEntry, entry_of, explainer_entry, explainer_names
from xai_adapters.utils.references import is_reference, resolve


def select_explainers(
    explainers: Sequence[str | ExplainerEntry] | None, compares: Comparison
) -> list[ExplainerEntry]:
    """The entries of the explainers to compare, each once.

    Args:
        explainers: registered names, references "module:attribute", or entries; None for all of
            the kind that is compared.
        compares: that kind.

    Raises:
        UnknownNameError: for a name that is not registered.
        InvalidInputError: if there is none, or one is of another kind.
    """
    named = explainer_names(compares) if explainers is None else explainers
    entries = {entry.name: entry for entry in (_entry(each, compares) for each in named)}
    if not entries:
        raise InvalidInputError("no explainers were named; leave them out to compare all")
    for entry in entries.values():
        if entry.kind != compares:
            raise InvalidInputError(
                f"{entry.name} makes {entry.kind}s, and this task compares {compares}s: "
                f"{', '.join(explainer_names(compares))}"
            )
    return list(entries.values())


def _entry(named: str | ExplainerEntry, compares: Comparison) -> ExplainerEntry:
    """The entry of a name or a reference; a bare maker is taken to make what is compared."""
    if isinstance(named, ExplainerEntry):
        return named
    if not is_reference(named):
        return explainer_entry(named)
    found = resolve(named)
    entry = entry_of(found)
    if entry is not None:
        return entry
    if not callable(found):
        raise InvalidInputError(
            f"'{named}' is a {type(found).__name__}; an ExplainerEntry, or a function that makes "
            "an explainer for a Subject, was expected"
        )
    summary = (inspect.getdoc(found) or "").partition("\n")[0]
    # The reference, which other processes can import.
    return ExplainerEntry(named, summary, named, kind=compares)
