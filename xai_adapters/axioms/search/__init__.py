"""The search for counterexamples, in this process or, with a time limit, in another."""

from xai_adapters.axioms.search.processes import CheckPool
from xai_adapters.axioms.search.search import Search

__all__ = ["CheckPool", "Search"]
