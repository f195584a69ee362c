"""How explainers under test are called, whatever library they are from, and what they answer."""

from xai_adapters.axioms.answers.attributions import attributing
from xai_adapters.axioms.answers.boxes import boxing
from xai_adapters.axioms.answers.counterfactuals import changing

__all__ = ["attributing", "boxing", "changing"]
