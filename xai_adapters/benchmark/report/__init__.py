"""The report of a run: HTML, markdown, CSV and a table for the terminal."""

from xai_adapters.benchmark.report.axiom_table import read_axioms
from xai_adapters.benchmark.report.colors import DIVERGING, SEQUENTIAL, color_indices, palette
from xai_adapters.benchmark.report.report import WRITERS, render
from xai_adapters.benchmark.report.terminal_table import print_table

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "WRITERS",
    "color_indices",
    "palette",
    "print_table",
    "read_axioms",
    "render",
]
