"""A test for each explainer and each axiom it claims, by a decorator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import Unpack

from xai_adapters.axioms.axiom import Axiom
from xai_adapters.axioms.check import check_axiom
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.record import AxiomError, ExpectedFailure
from xai_adapters.axioms.register import chosen_axioms
from xai_adapters.axioms.settings import CheckOptions
from xai_adapters.errors import require


@dataclass(frozen=True)
class _ExpectedToFail:
    """An axiom whose check succeeds if it fails."""

    axiom: Axiom
    expected: str | ExpectedFailure

    def check(self, explainer: Explainer, **options: Unpack[CheckOptions]) -> None:
        record = check_axiom(self.axiom, explainer, expected_failure=self.expected, **options)
        if record.status == "expected failure":
            require("pytest", "axioms").xfail(record.reason)
        record.raise_if_failed()
        if isinstance(self.expected, ExpectedFailure) and self.expected.case:
            raise AxiomError(
                f"{record}: the pinned counterexample is none any more; take it out of "
                "expected_failures"
            )
        warnings.warn(f"{record}: no counterexample was found", stacklevel=2)


def parametrize_with_axioms(
    explainers: Sequence[Explainer],
    *,
    axioms: Sequence[str | Axiom] | None = None,
    expected_failures: Mapping[str, Mapping[str, str | ExpectedFailure]] | None = None,
) -> Any:
    """Parametrise a test with (explainer, axiom), for every axiom an explainer claims.

    What an explainer says it does not claim is skipped with its reason. Ids are
    "explainer-axiom", the same in every run and on every machine.

    Args:
        explainers: made by `explainer` or `registered`.
        axioms: which to look at; all by default.
        expected_failures: by explainer and axiom the reason why it fails, or an `ExpectedFailure`
            with the counterexample. Names that match nothing are warned about.

    Returns:
        A `pytest.mark.parametrize` of the arguments `explainer` and `axiom`.

    Example:
        >>> from xai_adapters.axioms import explainer
        >>> ones = explainer("ones", lambda model: lambda inputs, target: 0 * inputs, {"dummy": 0})
        >>> [case.id for case in parametrize_with_axioms([ones]).args[1]]
        ['ones-dummy']
    """
    pytest = require("pytest", "axioms")
    expected = {name: dict(each) for name, each in (expected_failures or {}).items()}
    chosen = chosen_axioms(axioms)
    cases = []
    for each in explainers:
        failing = expected.pop(each.name, {})
        for axiom in chosen:
            claim = each.claims.get(axiom.name)
            if claim is None:
                continue
            checked: Any = axiom
            if axiom.name in failing:
                checked = _ExpectedToFail(axiom, failing.pop(axiom.name))
            marks = [pytest.mark.skip(f"not claimed: {claim}")] if isinstance(claim, str) else []
            cases.append(pytest.param(each, checked, id=f"{each.name}-{axiom.name}", marks=marks))
        if failing:
            expected[each.name] = failing
    for name, left in expected.items():
        for place in left or [""]:
            warnings.warn(
                f"expected_failures: no check is called {name}/{place}".rstrip("/"), stacklevel=2
            )
    return pytest.mark.parametrize(("explainer", "axiom"), cases)
