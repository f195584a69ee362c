"""Objects of user code, named as "module:attribute"."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from typing import Any

from xai_adapters.errors import InvalidInputError, UnknownNameError


def is_reference(text: str) -> bool:
    """Whether a text has the form "module:attribute"."""
    return ":" in text


def resolve(reference: str) -> Any:
    """Import the object that "module:attribute" names.

    Raises:
        InvalidInputError: if the module cannot be imported, with the line that raises.
        UnknownNameError: if it has no such attribute.

    Example:
        >>> resolve("math:pi") > 3
        True
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute or module_name.startswith("."):
        raise InvalidInputError(f"'{reference}' is not of the form module:attribute")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InvalidInputError(f"cannot import '{reference}': {error}") from error
    except Exception as error:
        raise InvalidInputError(f"cannot import '{reference}': {describe_error(error)}") from error
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownNameError(f"attribute of {module_name}", attribute, public)
    return getattr(module, attribute)


def describe_error(error: Exception) -> str:
    """An error that user code raised, with the file and line that raised it."""
    where = ""
    frames = traceback.extract_tb(error.__traceback__)
    # A syntax error names its own line.
    if frames and not isinstance(error, SyntaxError):
        where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {error}{where}"
