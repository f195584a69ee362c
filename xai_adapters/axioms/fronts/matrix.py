"""The matrix of explainers against axioms: computed, printed, written down."""

from __future__ import annotations

import json
import multiprocessing
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from xai_adapters import __version__
from xai_adapters.axioms.axiom import AXIOMS, axiom
from xai_adapters.axioms.explainer import load_explainers
from xai_adapters.axioms.record import Record, Status
from xai_adapters.axioms.search.engine import check_axiom
from xai_adapters.errors import InvalidInputError, require

SCHEMA_VERSION = 1
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


def check_matrix(
    references: Sequence[str],
    axioms: Sequence[str] | None = None,
    *,
    n_processes: int = 1,
    on_record: Callable[[Record], None] = lambda record: None,
    **settings: Any,
) -> list[Record]:
    """Check explainers against axioms.

    Args:
        references: names of registered explainers, or "module:factory".
        axioms: their names; all by default.
        n_processes: explainers checked at once, each in a process.
        on_record: called with each record as it comes, to show progress.
        **settings: those of `Settings`; `budget` is one second unless given.

    Returns:
        One record for each explainer and axiom, explainer by explainer.

    Raises:
        UnknownNameError: for an explainer or axiom that does not exist.
        InvalidInputError: for no explainers, or two of one name.
    """
    names = list(AXIOMS) if axioms is None else [axiom(name).name for name in axioms]
    # Told now, before any work is done; the processes load them again.
    explainers = [each.name for reference in references for each in load_explainers(reference)]
    if not explainers or len(set(explainers)) < len(explainers):
        raise InvalidInputError(f"explainers with different names are needed; got {explainers}")
    check = partial(_check_reference, names=names, settings={"budget": BUDGET, **settings})
    records: list[Record] = []
    if n_processes == 1:
        for reference in references:
            records += check(reference, on_record=on_record)
        return records
    # Not forked: torch's threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=context) as pool:
        for found in pool.map(check, references):
            for record in found:
                on_record(record)
            records += found
    return records


def _check_reference(
    reference: str,
    names: Sequence[str],
    settings: dict[str, Any],
    on_record: Callable[[Record], None] = lambda record: None,
) -> list[Record]:
    records = []
    for each in load_explainers(reference):
        for name in names:
            records.append(check_axiom(axiom(name), each, **settings))
            on_record(records[-1])
    return records


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


def write_records(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write records, with what they were made on, as JSON.

    Args:
        records: each as `Record.as_dict` gives it.
        path: of the file.

    Raises:
        InvalidInputError: if the file cannot be written.
    """
    import hypothesis
    import torch

    named = {record["axiom"] for record in records}
    described = {name: each for name, each in AXIOMS.items() if name in named}
    content = {
        "schema_version": SCHEMA_VERSION,
        "environment": {
            "xai_adapters": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "hypothesis": hypothesis.__version__,
            "platform": sys.platform,
        },
        "axioms": {
            name: {
                "statement": each.statement,
                "formula": each.formula,
                "source": each.source,
                "kind": each.kind,
                "scale": each.scale,
                "atol": each.atol,
                "rtol": each.rtol,
            }
            for name, each in described.items()
        },
        "records": list(records),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise InvalidInputError(f"the report cannot be written to {path}: {error}") from error
