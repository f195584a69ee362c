"""Explainers whose checks have a time limit: worker processes import them by name."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from typing import Any

from xai_adapters.axioms import Domain, Explainer, explainer

LINE = Domain.linear(styles=("module",))


def shares(model: Any) -> Any:
    return lambda inputs, target: model[0].weight.detach()[target] * inputs


def doubled(model: Any) -> Any:
    return lambda inputs, target: 2 * model[0].weight.detach()[target] * inputs


def waiting(model: Any) -> None:
    threading.Event().wait()


def spinning(model: Any) -> None:
    while True:
        pass


def swallowing(model: Any) -> None:
    while True:
        with contextlib.suppress(BaseException):
            threading.Event().wait()


CALLS = itertools.count()


def doubled_then_waiting(model: Any) -> Any:
    return waiting(model) if next(CALLS) else doubled(model)


def exiting(model: Any) -> None:
    os._exit(7)


def killed(model: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def claiming(make: Any, **claims: float | str) -> Explainer:
    return explainer(make.__name__, make, claims or {"dummy": 0, "completeness": 0}, domain=LINE)


def factory() -> list[Explainer]:
    """Of functions that have no name in their module."""
    return [claiming(shares), explainer("local", lambda model: doubled(model), {"completeness": 0})]
