"""A counterexample as code that can be pasted and run."""

from __future__ import annotations

import textwrap

from xai_adapters.axioms.cases.case import Case
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.finding import Finding

MAX_LINES = 10
_MAX_WIDTH = 160


def counterexample(
    axiom: str, formula: str, explainer: Explainer, case: Case, outcome: Finding | BaseException
) -> str:
    """At most ten lines: the networks, the rows, what was expected and got, and the call.

    Args:
        axiom: the name of the axiom that was broken.
        formula: what it promises.
        explainer: which broke it.
        case: in which it was broken.
        outcome: the finding, or the error that was raised.
    """
    lines = [
        "from xai_adapters.axioms import *",
        *_source(axiom, explainer),
        f"network = {case.network!r}",
    ]
    if case.other:
        lines.append(f"other = {case.other!r}")
    lines.append(f"case = Case(network, {case.arguments('other' if case.other else None)})")
    lines.append(f"print(measure({axiom!r}, tested, case))")
    if isinstance(outcome, Finding):
        lines += [
            f"# {formula}",
            f"# expected: {outcome.expected}",
            f"# got: {outcome.got}; gap {outcome.gap:.3g}, tolerance {outcome.tolerance:.3g}",
        ]
    else:
        lines.append(f"# raised {one_line(outcome)}")
    return "\n".join(
        textwrap.shorten(line, _MAX_WIDTH, placeholder=" ...") if line.startswith("#") else line
        for line in lines
    )


def one_line(error: BaseException) -> str:
    """An error's type and message, on one line."""
    message = textwrap.shorten(" ".join(str(error).split()), 200, placeholder=" ...")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _source(axiom: str, explainer: Explainer) -> list[str]:
    """Code that makes the explainer; where nobody can know it, a line that says so."""
    if explainer.source:
        return [f"tested = {explainer.source}"]
    module = getattr(explainer.make, "__module__", None)
    name = getattr(explainer.make, "__qualname__", "<")
    if module and "<" not in name and explainer.takes == "model":
        return [f"from {module} import {name}", f"tested = {_call(axiom, explainer, name)}"]
    return [f"tested = ...  # your explainer '{explainer.name}'"]


def _call(axiom: str, explainer: Explainer, make: str) -> str:
    default = Explainer("", print)
    claim = {axiom: explainer.claims[axiom]}
    settings = [
        f", {name}={getattr(explainer, name)!r}"
        for name in ("baseline", "unit")
        if getattr(explainer, name) != getattr(default, name)
    ]
    return f"explainer({explainer.name!r}, {make}, {claim!r}{''.join(settings)})"
