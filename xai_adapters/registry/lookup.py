"""Explainers by name: the built-in ones and those of installed packages.

A package adds its own through an entry point of the group `xai_adapters.explainers`: the name is
the explainer's, the object an `ExplainerEntry` or a registered maker. It is imported on first use.
"""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.registry.entries import ExplainerEntry, Kind, entry_of

ENTRY_POINT_GROUP = "xai_adapters.explainers"
_BUILT_IN = "xai_adapters.explainers"
_ORDER = ("ours", "comparator", "upper bound", "chance")


def explainer_names(kind: Kind | None = None) -> list[str]:
    """Names of all explainers, or those of a kind: ours, comparators, references, entry points'.

    Of a kind, an entry point that cannot be used is left out with a warning.
    """
    if kind is not None:
        return [entry.name for entry in explainer_entries() if entry.kind == kind]
    return list(dict.fromkeys((*built_in(), *_from_entry_points())))


def explainer_entries() -> list[ExplainerEntry]:
    """All explainers; an entry point that cannot be used is left out with a warning."""
    entries = []
    for name in explainer_names():
        try:
            entries.append(explainer_entry(name))
        except InvalidInputError as error:
            warnings.warn(f"{error}; it is left out", stacklevel=2)
    return entries


def explainer_entry(name: str) -> ExplainerEntry:
    """The explainer of that name.

    Raises:
        UnknownNameError: if there is none, with the nearest name.
        InvalidInputError: if it is an entry point that cannot be used.
    """
    if name in built_in():
        return built_in()[name]
    points = _from_entry_points()
    if name not in points:
        raise UnknownNameError("explainer", name, explainer_names())
    point = points[name]
    where = f"explainer '{name}', which an installed package declares as '{point.value}',"
    try:
        loaded = point.load()
    except Exception as error:
        # Whatever the code of a package raises, the others can still be used.
        raise InvalidInputError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    entry = entry_of(loaded)
    if entry is None:
        raise InvalidInputError(
            f"{where} is a {type(loaded).__name__}; an ExplainerEntry or a maker decorated with "
            "`registered` was expected"
        )
    return replace(entry, name=name)


@cache
def built_in() -> Mapping[str, ExplainerEntry]:
    """The entries of this package by name, from the makers of every module in its folder."""
    package = importlib.import_module(_BUILT_IN)
    entries = []
    for module in pkgutil.iter_modules(package.__path__, f"{_BUILT_IN}."):
        members = vars(importlib.import_module(module.name)).values()
        entries += [
            member.entry
            for member in members
            if getattr(member, "__module__", None) == module.name and entry_of(member)
        ]
    entries.sort(key=lambda entry: _ORDER.index(entry.role))
    return MappingProxyType({entry.name: entry for entry in entries})


def _from_entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
