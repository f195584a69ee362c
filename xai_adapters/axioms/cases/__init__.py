"""Cases that explainers are checked on: small networks with rows, and how they are drawn."""

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import any_case
from xai_adapters.axioms.cases.networks import Network, random_network

__all__ = ["Case", "Domain", "Network", "any_case", "random_network"]
