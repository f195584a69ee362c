"""Things of other people's code, named as "module:attribute"."""

from __future__ import annotations

import importlib
import inspect
import traceback
from pathlib import Path
from typing import Any

from xai_adapters.benchmark.tasks.task import Comparison
from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.registry import ExplainerEntry, explainer_entry


def refers(text: str) -> bool:
    """Whether a text names something as "module:attribute"."""
    return ":" in text


def referred(reference: str) -> Any:
    """What "module:attribute" names.

    Raises:
        InvalidInputError: if the module cannot be imported, with the line at which it raises.
        UnknownNameError: if it has no such attribute.

    Example:
        >>> referred("math:pi") > 3
        True
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or module_name.startswith("."):
        raise InvalidInputError(f"'{reference}' is not of the form module:attribute")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidInputError(f"cannot import '{reference}': {error}") from error
    except Exception as error:
        raise InvalidInputError(f"cannot import '{reference}': {told(error)}") from error
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownNameError(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


def told(error: Exception) -> str:
    """What other people's code raised, and the line of it that did."""
    where = ""
    frames = traceback.extract_tb(error.__traceback__)
    # A syntax error tells its line itself, and is raised in none.
    if frames and not isinstance(error, SyntaxError):
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"


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
