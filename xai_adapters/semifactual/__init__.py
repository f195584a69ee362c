"""How far a row may move while any predictor keeps its class, and the counterfactual beyond."""

from xai_adapters.semifactual.explainer import SemifactualBox
from xai_adapters.semifactual.result import Semifactual

__all__ = ["Semifactual", "SemifactualBox"]
