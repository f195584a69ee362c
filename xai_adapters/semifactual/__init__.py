"""How far a row may move while any predictor keeps its class, and the counterfactual beyond."""

from xai_adapters.semifactual.explainer import Semifactual, SemifactualBox

__all__ = ["Semifactual", "SemifactualBox"]
