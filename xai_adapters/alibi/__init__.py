"""FIMAP and maximal invariant perturbation as Alibi's counterfactual explainers.

Importing this package imports Alibi if it is installed (some seconds).
"""

from xai_adapters.alibi.explainers import (
    Explanation,
    FIMAPCounterfactual,
    InvariantBoxCounterfactual,
)

__all__ = ["Explanation", "FIMAPCounterfactual", "InvariantBoxCounterfactual"]
