"""Axioms of explanations, and a search for what breaks them.

An explainer says which promises it makes; hypothesis draws small models and rows; a promise that
is broken is shown by the smallest model that was found. The three fronts are
`parametrize_with_axioms`, `check_explainer` and `pytest --xai-explainer`.
"""

from xai_adapters.errors import require

require("hypothesis", "axioms")

from xai_adapters.axioms import (  # noqa: E402, F401 - definitions register themselves
    attribution_axioms,
    box_axioms,
    conduct_axioms,
    counterfactual_axioms,
    nearness_axioms,
    robustness_axioms,
    sanity_axioms,
)
from xai_adapters.axioms.axiom import AXIOMS, Axiom, Finding, axiom  # noqa: E402
from xai_adapters.axioms.case import Case, Domain  # noqa: E402
from xai_adapters.axioms.engine import (  # noqa: E402
    ExpectedFailure,
    Settings,
    check_explainer,
    measure,
)
from xai_adapters.axioms.explainers import (  # noqa: E402
    Explainer,
    explainer,
    load_explainers,
    registered,
)
from xai_adapters.axioms.networks import Network, random_network  # noqa: E402
from xai_adapters.axioms.parametrize import parametrize_with_axioms  # noqa: E402
from xai_adapters.axioms.record import AxiomError, Record  # noqa: E402

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
