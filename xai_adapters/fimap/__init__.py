"""Minimal perturbation (FIMAP): fitted once, then one forward pass gives what flips each row."""

from xai_adapters.fimap.explainer import MinimalPerturbation
from xai_adapters.fimap.results import Certainty, Perturbation
from xai_adapters.fimap.settings import FittingOptions, FittingSettings

__all__ = ["Certainty", "FittingOptions", "FittingSettings", "MinimalPerturbation", "Perturbation"]
