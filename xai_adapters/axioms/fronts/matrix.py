"""The matrix of explainers against axioms: computed, and printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import Unpack

from xai_adapters.axioms.axiom import check_all
from xai_adapters.axioms.loading import load_explainers
from xai_adapters.axioms.record import Record, Status
from xai_adapters.axioms.register import chosen_axioms
from xai_adapters.axioms.settings import CheckOptions, Settings
from xai_adapters.errors import InvalidInputError, require
from xai_adapters.utils.options import check_whole_number, named_options

# Enough for a matrix to be looked at: what is broken is mostly broken in the first few cases.
BUDGET = 1.0
_MARKS: dict[Status, tuple[str, str]] = {
    "kept": ("✓", "green"),
    "broken": ("✗", "bold red"),
    "crashed": ("!", "bold red"),
    "timed out": ("t", "bold red"),
    "not claimed": ("·", "dim"),
    "not applicable": ("–", "dim"),
    "expected failure": ("x", "yellow"),
}


@named_options(Settings)
def check_matrix(
    references: Sequence[str],
    axioms: Sequence[str] | None = None,
    *,
    n_processes: int = 1,
    on_record: Callable[[Record], object] = lambda record: None,
    **options: Unpack[CheckOptions],
) -> list[Record]:
    """Check explainers against axioms.

    Args:
        references: names of registered explainers, or "module:factory".
        axioms: their names; all by default.
        n_processes: checks run at once, each in a process.
        on_record: called with each record as its check ends, to show progress.
        **options: the fields of `Settings`; `budget` is one second unless given.

    Returns:
        One record for each explainer and axiom, explainer by explainer.

    Raises:
        UnknownNameError: for an explainer or axiom that does not exist.
        InvalidInputError: for no explainers, two of one name, or an option out of range.
    """
    check_whole_number("n_processes", n_processes, at_least=1)
    explainers = [each for reference in references for each in load_explainers(reference)]
    names = [each.name for each in explainers]
    if not names or len(set(names)) < len(names):
        raise InvalidInputError(f"explainers with different names are needed, got {names}")
    asked = [(axiom, each, None) for each in explainers for axiom in chosen_axioms(axioms)]
    options = {"budget": BUDGET, **options}
    return check_all(asked, n_processes, on_record, **options)


def print_matrix(records: Sequence[Record], console: Any) -> None:
    """Print a matrix with an explainer a column, and below it what is broken and why.

    Args:
        records: of `check_matrix` or `check_explainer`.
        console: a `rich.console.Console`.
    """
    table_module = require("rich.table", "axioms")
    by_place = {(record.axiom, record.explainer): record for record in records}
    axioms = list(dict.fromkeys(record.axiom for record in records))
    explainers = list(dict.fromkeys(record.explainer for record in records))
    table = table_module.Table(box=None, padding=(0, 1))
    table.add_column("axiom")
    for number, _ in enumerate(explainers, 1):
        table.add_column(str(number), justify="right")
    for name in axioms:
        marks = []
        for column in explainers:
            record = by_place.get((name, column))
            mark, style = _MARKS[record.status] if record else (" ", "dim")
            marks.append(f"[{style}]{mark}[/]")
        table.add_row(name, *marks)
    console.print(table)
    for number, column in enumerate(explainers, 1):
        console.print(f"{number:3} {column}", highlight=False)
    legend = ", ".join(f"{mark} {status}" for status, (mark, _) in _MARKS.items())
    console.print(legend, style="dim", highlight=False)
    for record in records:
        if record.failed or record.status == "expected failure":
            console.print(f"\n{record}", highlight=False, markup=False, soft_wrap=True)
