"""Checks of explainers in a program."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

from typing_extensions import Unpack

from xai_adapters.axioms.axiom import Axiom, check_all
from xai_adapters.axioms.cases.case import Case
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.record import AxiomError, ExpectedFailure, Record
from xai_adapters.axioms.register import AXIOMS, chosen_axioms
from xai_adapters.axioms.settings import CheckOptions, Settings
from xai_adapters.utils.options import check_choice, named_options


def measure(axiom: str | Axiom, explainer: Explainer, case: Case) -> Finding:
    """How far an explainer is from keeping an axiom in one case; whatever it raises is passed on.

    Args:
        axiom: the axiom, or its name.
        explainer: made by `explainer` or `registered`.
        case: networks and rows, such as a counterexample's.
    """
    [chosen] = chosen_axioms([axiom])
    return chosen.finding(explainer, case)


@named_options(Settings)
def check_explainer(
    explainer: Explainer,
    axioms: Sequence[str | Axiom] | None = None,
    on_fail: Literal["raise", "warn"] | None = "raise",
    *,
    expected_failures: Mapping[str, str | ExpectedFailure] | None = None,
    **options: Unpack[CheckOptions],
) -> list[Record]:
    """Check an explainer against what it claims.

    Args:
        explainer: made by `explainer` or `registered`.
        axioms: which to look at; all by default. Those it does not claim are recorded as such.
        on_fail: "raise" an `AxiomError` with all counterexamples when all are checked, "warn" of
            each, or None to only return the records.
        expected_failures: by axiom the reason why the explainer breaks it, or an
            `ExpectedFailure`. A name that matches nothing is warned about.
        **options: the fields of `Settings`.

    Returns:
        A record for each axiom, in their order.

    Raises:
        AxiomError: with `on_fail="raise"`, if an axiom is broken, or the explainer crashes or
            hangs.
        UnknownNameError: for an axiom that does not exist.
        InvalidInputError: for an option out of range.
    """
    check_choice("on_fail", on_fail, ("raise", "warn", None))
    expected = dict(expected_failures or {})
    for name in set(expected) - set(AXIOMS):
        warnings.warn(f"expected_failures names no axiom: '{name}'", stacklevel=3)
    asked = [(each, explainer, expected.get(each.name)) for each in chosen_axioms(axioms)]
    records = check_all(asked, **options)
    failed = [record for record in records if record.failed]
    if on_fail == "raise" and failed:
        raise AxiomError("\n\n".join(str(record) for record in failed))
    if on_fail == "warn":
        for record in failed:
            warnings.warn(str(record), stacklevel=3)
    return records


@named_options(Settings)
def check_axiom(
    axiom: str | Axiom,
    explainer: Explainer,
    *,
    expected_failure: str | ExpectedFailure | None = None,
    **options: Unpack[CheckOptions],
) -> Record:
    """Check an explainer against one axiom.

    Args:
        axiom: the axiom, or its name.
        explainer: made by `explainer` or `registered`.
        expected_failure: why it is expected to fail, if it is.
        **options: the fields of `Settings`.

    Returns:
        What came of it; nothing is raised if the axiom is broken.
    """
    [chosen] = chosen_axioms([axiom])
    [record] = check_all([(chosen, explainer, expected_failure)], **options)
    return record
