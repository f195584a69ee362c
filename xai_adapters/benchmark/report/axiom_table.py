"""The matrix of axioms for the report, from a file of `xai-adapters axioms --out`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xai_adapters.errors import ResultsFolderError

# Marks differ in shape, not in colour alone.
MARKS = {
    "kept": "✓", "broken": "✗", "crashed": "!", "timed out": "⏱", "expected failure": "x",
    "not claimed": "·", "not applicable": " ",
}  # fmt: skip
FAILED = ("broken", "crashed", "timed out")


@dataclass(frozen=True)
class AxiomTable:
    """The result of each axiom (a row) for each explainer (a column), and details of failures.

    Args:
        explainers: their names.
        statements: the statement of each axiom, by its name.
        records: by axiom and explainer; None if it was not checked.
        failures: the records that failed.
    """

    explainers: list[str]
    statements: dict[str, str]
    records: dict[str, list[Mapping[str, Any] | None]]
    failures: list[Mapping[str, Any]]


def axiom_table(content: Mapping[str, Any]) -> AxiomTable:
    """The table from the content of a file."""
    records = content["records"]
    explainers = list(dict.fromkeys(record["explainer"] for record in records))
    by_place = {(record["axiom"], record["explainer"]): record for record in records}
    axioms = {name: facts["statement"] for name, facts in content["axioms"].items()}
    return AxiomTable(
        explainers,
        axioms,
        {name: [by_place.get((name, each)) for each in explainers] for name in axioms},
        [record for record in records if record["status"] in FAILED],
    )


def read_axioms(path: Path) -> dict[str, Any]:
    """The content of a file that `xai-adapters axioms --out` wrote.

    Raises:
        ResultsFolderError: if it cannot be read or has other content.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        axiom_table(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsFolderError(
            f"'{path}' is not a file that `xai-adapters axioms --out` wrote: "
            f"{type(error).__name__}: {error}"
        ) from error
    return content
