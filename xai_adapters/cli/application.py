"""The command line as a whole: its commands, its warnings and its errors."""

# No "from __future__ import annotations": typer reads annotations as objects.

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from xai_adapters import __version__
from xai_adapters.errors import XaiAdaptersError, require


def main() -> None:
    """Run the command line; errors of ours end it with one line and exit code 2."""
    try:
        with _plain_warnings():
            _application()(prog_name="xai-adapters")
    except XaiAdaptersError as error:
        print(f"xai-adapters: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings in one line, without the code that raised them."""
    with warnings.catch_warnings():
        # Columns are passed to a model by position, in the order of its names.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        warnings.showwarning = lambda message, *_, **__: print(
            f"xai-adapters: {message}", file=sys.stderr
        )
        yield


def _application() -> Any:
    # Imported here: without typer, the error names the extra that installs it.
    typer = require("typer", "benchmark")
    from xai_adapters.cli import axioms, benchmark, compare, list, report

    application = typer.Typer(
        help="Benchmark explainers and check the axioms they claim.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    application.command("benchmark")(benchmark.command())
    application.command("compare")(compare.command)
    application.command("report")(report.command)
    application.command("axioms")(axioms.command)
    application.command("list")(list.command)

    @application.callback(invoke_without_command=True)
    def version(
        version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    ) -> None:
        if version:
            print(__version__)
            raise typer.Exit

    return application
