"""`xai-adapters report`: write the report of a run again, or print its table."""

# No "from __future__ import annotations": typer reads annotations as objects.

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from xai_adapters.benchmark.report.axiom_table import read_axioms
from xai_adapters.benchmark.report.report import WRITERS, render
from xai_adapters.benchmark.results.files import REPORT, read_results
from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.utils.files import replace_file


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    format: Annotated[str, typer.Option(help="html, md or csv.")] = "html",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write. By default html goes into the folder; md and csv are printed.",
            show_default=False,
        ),
    ] = None,
    axioms: Annotated[
        Path | None,
        typer.Option(
            help="File of `xai-adapters axioms --out`; the HTML shows its records.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the report of a run again, or print its table as Markdown or CSV."""
    if format not in WRITERS:
        raise UnknownNameError("format", format, WRITERS)
    results, write = read_results(folder), WRITERS[format]
    if axioms is not None:
        if format != "html":
            raise InvalidInputError("only the HTML shows axioms; leave --format out")
        write = partial(render, axioms=read_axioms(axioms))
    text = write(results)
    path = out or (folder / REPORT if format == "html" else None)
    if path is None:
        print(text, end="")
    else:
        replace_file(path, lambda draft: draft.write_text(text, encoding="utf-8"))
