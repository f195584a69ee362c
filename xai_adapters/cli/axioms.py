"""`xai-adapters axioms`: check explainers against the axioms they claim."""

# No "from __future__ import annotations": typer reads annotations as objects.

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xai_adapters.cli.flags import split
from xai_adapters.errors import require
from xai_adapters.registry import explainer_entries


def command(
    explainers: Annotated[
        list[str] | None,
        typer.Argument(
            help="Registered names, or MODULE:FACTORY. By default all registered explainers.",
            show_default=False,
        ),
    ] = None,
    axioms: Annotated[
        str | None,
        typer.Option(
            help="Names of axioms, separated by commas. By default all.", show_default=False
        ),
    ] = None,
    max_examples: Annotated[int, typer.Option(help="Cases tried for each axiom.")] = 100,
    budget: Annotated[
        float, typer.Option(help="Seconds after which a check tries no further case.")
    ] = 1.0,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a check is ended; 0 for no limit.")
    ] = 60,
    processes: Annotated[int, typer.Option(help="Checks run at the same time.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the cases.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file for a record of each check.", show_default=False),
    ] = None,
) -> None:
    """Check explainers against the axioms they claim.

    The exit code is 1 if an explainer breaks an axiom that it claims.
    """
    # An installation without hypothesis has the other commands.
    from xai_adapters.axioms import AXIOMS, check_matrix, print_matrix, write_records

    names = list(AXIOMS if axioms is None else split(axioms))
    references = explainers or [entry.name for entry in explainer_entries()]
    # As `python -m` does it: MODULE may belong to the project in this folder.
    sys.path.insert(0, str(Path.cwd()))
    tqdm = require("tqdm", "axioms").tqdm
    with tqdm(total=len(references) * len(names), unit="check", leave=False) as bar:
        records = check_matrix(
            references,
            names,
            max_examples=max_examples,
            budget=budget,
            timeout=timeout or None,
            seed=seed,
            n_processes=processes,
            on_record=lambda record: bar.update(),
        )
    print_matrix(records, Console())
    if out is not None:
        write_records(records, out)
    if any(record.failed for record in records):
        raise typer.Exit(1)
