"""Minimal perturbation (FIMAP): fitted once, then one forward pass gives what flips each row."""

from xai_adapters.fimap.explainer import Certainty, MinimalPerturbation, Perturbation

__all__ = ["Certainty", "MinimalPerturbation", "Perturbation"]
