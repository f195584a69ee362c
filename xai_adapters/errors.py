"""Every exception and warning of the package.

Each says what was wrong, where, and what to do. All exceptions derive from `XaiAdaptersError`, and
each also from the built-in exception that a caller would expect:

    XaiAdaptersError
    ├── InvalidInputError (ValueError)
    ├── UnknownNameError (ValueError)
    ├── UnknownOptionError (TypeError)
    ├── PredictorError (ValueError)
    │   └── ConstantPredictorError
    ├── NotFittedError (RuntimeError)
    ├── NotApplicableError (TypeError)
    ├── SavedExplainerError (ValueError)
    ├── ResultsFolderError (OSError)
    └── MissingDependencyError (ImportError)

    UserWarning
    ├── FitWarning
    └── BoxWarning
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Sequence
from types import ModuleType


class XaiAdaptersError(Exception):
    """Base of all our exceptions; the command line turns it into one line and exit code 2."""


class InvalidInputError(XaiAdaptersError, ValueError):
    """Rows, targets or options that cannot be used."""


class PredictorError(XaiAdaptersError, ValueError):
    """The black box answered with something that is not a prediction for each row."""


class ConstantPredictorError(PredictorError):
    """The black box gives one class for every row, so no row shows how to reach another."""


class NotFittedError(XaiAdaptersError, RuntimeError):
    """An explainer was used before it was fitted."""


class NotApplicableError(XaiAdaptersError, TypeError):
    """An explainer cannot serve this model or these rows; the message is the reason."""


class MissingDependencyError(XaiAdaptersError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class SavedExplainerError(XaiAdaptersError, ValueError):
    """A file that is no saved explainer, or none that this version can read."""


class ResultsFolderError(XaiAdaptersError, OSError):
    """A folder of results that cannot be read or written, or that another process works in."""


class FitWarning(UserWarning):
    """An explainer was fitted, but not well; the message names the cure."""


class BoxWarning(UserWarning):
    """A box is not as good as it should be; the message names the rows and the reason."""


class UnknownNameError(XaiAdaptersError, ValueError):
    """A name that is not registered, with the nearest one that is."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        hint = _nearest(name, known)
        super().__init__(f"unknown {kind} '{name}'.{hint} Known: {', '.join(known)}.")


class UnknownOptionError(XaiAdaptersError, TypeError):
    """An option that a call does not have, with the nearest one that it has."""

    def __init__(self, owner: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"{owner} has no option '{name}'.{_nearest(name, sorted(known))}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or raise an error that names the extra bringing it.

    Args:
        module: dotted name of the module to import.
        extra: the extra of this package that installs it.

    Raises:
        MissingDependencyError: if the library is not installed.

    Example:
        >>> require("json", "benchmark").__name__
        'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A library that is installed but lacks one of its own parts must not be called missing.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingDependencyError(
            f"{module} is not installed; it comes with: pip install 'xai-adapters[{extra}]'"
        ) from error
