"""`xai-adapters compare`: what changed between two runs."""

# No "from __future__ import annotations": typer reads annotations as objects.

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xai_adapters.benchmark.results.comparison import compare, print_comparison
from xai_adapters.benchmark.results.files import read_results
from xai_adapters.errors import UnknownNameError


def command(
    before: Annotated[Path, typer.Argument(help="Folder of the first run.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="Folder of the second run.", show_default=False)],
    fail_on: Annotated[
        str | None,
        typer.Option(
            help="'regress': exit with code 1 if a metric got worse, or an explainer fails that "
            "did not before.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print what changed between two runs beyond noise.

    Values are compared row by row where both runs explained the same rows.
    """
    if fail_on not in (None, "regress"):
        raise UnknownNameError("reason to fail", fail_on, ["regress"])
    comparison = compare(read_results(before), read_results(after))
    print_comparison(comparison, Console())
    if fail_on and comparison.regressed:
        raise typer.Exit(1)
