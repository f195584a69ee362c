"""FIMAP and maximal invariant perturbation as SHAP explainers.

Importing this package imports shap.
"""

from xai_adapters.errors import require

require("shap", "shap")

from xai_adapters.shap.explainers import FIMAPExplainer, InvariantBoxExplainer  # noqa: E402

__all__ = ["FIMAPExplainer", "InvariantBoxExplainer"]
