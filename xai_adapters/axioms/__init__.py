"""Axioms of explanations, and a search for what breaks them.

An explainer says which promises it makes; hypothesis draws small models and rows; a promise that
is broken is shown by the smallest model in which it is. The three front doors are
`parametrize_with_axioms`, `check_explainer` and `pytest --xai-explainer`.
"""

from xai_adapters.errors import require

require("hypothesis", "axioms")

from xai_adapters.axioms import definitions  # noqa: E402, F401 - axioms register themselves
from xai_adapters.axioms.axiom import Axiom  # noqa: E402
from xai_adapters.axioms.cases.case import Case, Domain  # noqa: E402
from xai_adapters.axioms.cases.drawing import any_case  # noqa: E402
from xai_adapters.axioms.cases.networks import Network, random_network  # noqa: E402
from xai_adapters.axioms.check import check_axiom, check_explainer, measure  # noqa: E402
from xai_adapters.axioms.explainer import Explainer  # noqa: E402
from xai_adapters.axioms.finding import Finding  # noqa: E402
from xai_adapters.axioms.fronts.matrix import check_matrix, print_matrix  # noqa: E402
from xai_adapters.axioms.fronts.parametrize import parametrize_with_axioms  # noqa: E402
from xai_adapters.axioms.fronts.report import write_records  # noqa: E402
from xai_adapters.axioms.loading import explainer, load_explainers, registered  # noqa: E402
from xai_adapters.axioms.record import AxiomError, ExpectedFailure, Record  # noqa: E402
from xai_adapters.axioms.register import AXIOMS, axiom, define  # noqa: E402
from xai_adapters.axioms.settings import Settings  # noqa: E402
from xai_adapters.axioms.trial import Trial  # noqa: E402

__all__ = [
    "AXIOMS",
    "Axiom",
    "AxiomError",
    "Case",
    "Domain",
    "ExpectedFailure",
    "Explainer",
    "Finding",
    "Network",
    "Record",
    "Settings",
    "Trial",
    "any_case",
    "axiom",
    "check_axiom",
    "check_explainer",
    "check_matrix",
    "define",
    "explainer",
    "load_explainers",
    "measure",
    "parametrize_with_axioms",
    "print_matrix",
    "random_network",
    "registered",
    "write_records",
]
