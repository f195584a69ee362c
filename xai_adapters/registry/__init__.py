"""Every explainer that can be named: what it is, and how to make one for a model."""

from xai_adapters.registry import claims
from xai_adapters.registry.entries import (
    CounterfactualExplainer,
    CounterfactualGenerator,
    Explainer,
    ExplainerEntry,
    FunctionExplainer,
    FunctionGenerator,
    entry_of,
    registered,
)
from xai_adapters.registry.lookup import explainer_entries, explainer_entry, explainer_names
from xai_adapters.registry.subject import Subject

__all__ = [
    "CounterfactualExplainer",
    "CounterfactualGenerator",
    "Explainer",
    "ExplainerEntry",
    "FunctionExplainer",
    "FunctionGenerator",
    "Subject",
    "claims",
    "entry_of",
    "explainer_entries",
    "explainer_entry",
    "explainer_names",
    "registered",
]
