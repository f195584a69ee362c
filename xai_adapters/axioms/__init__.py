"""Axioms of explanations, and a search for what breaks them.

An explainer says which promises it makes; hypothesis draws small models and rows; a promise that
is broken is shown by the smallest model that was found. The three fronts are
`parametrize_with_axioms`, `check_explainer` and `pytest --xai-explainer`.
"""

from xai_adapters.errors import require

require("hypothesis", "axioms")

from xai_adapters.axioms.axiom import AXIOMS, Axiom, Finding, axiom  # noqa: E402
from xai_adapters.axioms.definitions import (  # noqa: E402, F401 - definitions register themselves
    attribution,
    box,
    counterfactual,
    nearness,
    robustness,
    sanity,
    software_contract,
)
from xai_adapters.axioms.explainer import (  # noqa: E402
    Explainer,
    explainer,
    load_explainers,
    registered,
)
from xai_adapters.axioms.fronts.parametrize import parametrize_with_axioms  # noqa: E402
from xai_adapters.axioms.record import AxiomError, Record  # noqa: E402
from xai_adapters.axioms.search.case import Case, Domain  # noqa: E402
from xai_adapters.axioms.search.engine import (  # noqa: E402
    ExpectedFailure,
    Settings,
    check_explainer,
    measure,
)
from xai_adapters.axioms.search.networks import Network, random_network  # noqa: E402

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
    "axiom",
    "check_explainer",
    "explainer",
    "load_explainers",
    "measure",
    "parametrize_with_axioms",
    "random_network",
    "registered",
]
