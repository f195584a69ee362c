"""FIMAP and maximal invariant perturbation as SHAP explainers.

Importing this package imports shap. Calling an explainer returns a `shap.Explanation` that shap's
plots draw. Its values are not Shapley values, and with the base values they do not add up to the
output: they are changes in standard deviations of the background's columns, so that features can be
compared.
"""

from xai_adapters.errors import require

require("shap", "shap")

from xai_adapters.shap.fimap import FIMAPExplainer  # noqa: E402
from xai_adapters.shap.invariant_box import InvariantBoxExplainer  # noqa: E402

__all__ = ["FIMAPExplainer", "InvariantBoxExplainer"]
