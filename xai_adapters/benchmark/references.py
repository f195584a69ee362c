"""Things of other people's code, named as "module:attribute"."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from xai_adapters.benchmark.task import Comparison
from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.registry import ExplainerEntry, explainer_entry


def refers(text: str) -> bool:
    """Whether a text names something as "module:attribute"."""
    return ":" in text


def referred(reference: str) -> Any:
    """What "module:attribute" names.

    Raises:
        InvalidInputError: if the module cannot be imported.
        UnknownNameError: if it has no such attribute.

    Example:
        >>> referred("math:pi") > 3
        True
    """
    module_name, _, attribute = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidInputError(f"cannot import '{reference}': {error}") from error
    except ValueError as error:
        raise InvalidInputError(f"'{reference}' is not of the form module:attribute") from error
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownNameError(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


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
    if not refers(named):
        return explainer_entry(named)
    found = referred(named)
    if isinstance(found, ExplainerEntry):
        return found
    if not callable(found):
        raise InvalidInputError(
            f"'{named}' is a {type(found).__name__}; an ExplainerEntry, or a function that makes "
            "an explainer for a Subject, was expected"
        )
    summary = (inspect.getdoc(found) or "").partition("\n")[0]
    # By its reference, which other processes can follow.
    return ExplainerEntry(named, summary, named, kind=compares)
