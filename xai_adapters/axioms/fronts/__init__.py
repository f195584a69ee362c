"""The ways to check many axioms: a matrix, a decorator, and pytest without a test file."""

from xai_adapters.axioms.fronts.matrix import check_matrix, print_matrix
from xai_adapters.axioms.fronts.parametrize import parametrize_with_axioms
from xai_adapters.axioms.fronts.report import write_records

__all__ = ["check_matrix", "parametrize_with_axioms", "print_matrix", "write_records"]
