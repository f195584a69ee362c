"""Every explainer that can be named: what it is, and how to make one for a model."""

from xai_adapters.registry.entries import (
    CounterfactualExplainer,
    CounterfactualGenerator,
    Explainer,
    ExplainerEntry,
    FunctionExplainer,
    FunctionGenerator,
    Subject,
    explainer_entries,
    explainer_entry,
    explainer_names,
)

__all__ = [
    "CounterfactualExplainer",
    "CounterfactualGenerator",
    "Explainer",
    "ExplainerEntry",
    "FunctionExplainer",
    "FunctionGenerator",
    "Subject",
    "explainer_entries",
    "explainer_entry",
    "explainer_names",
]
