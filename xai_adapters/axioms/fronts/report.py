"""The file of records that `xai-adapters axioms --out` and `pytest --xai-report` write."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import torch

from xai_adapters import __version__
from xai_adapters.axioms.record import Record
from xai_adapters.axioms.register import AXIOMS
from xai_adapters.errors import InvalidInputError

SCHEMA_VERSION = 1


def write_records(records: Sequence[Record | Mapping[str, Any]], path: Path) -> None:
    """Write records, and with which versions they were made, as JSON.

    Args:
        records: as such, or as `Record.to_dict` gives them.
        path: of the file.

    Raises:
        InvalidInputError: if the file cannot be written.
    """
    plain = [each.to_dict() if isinstance(each, Record) else dict(each) for each in records]
    named = {record["axiom"] for record in plain}
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
        "records": plain,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise InvalidInputError(f"the records cannot be written to {path}: {error}") from error
