"""The user's model: one way to ask it, what its answers mean, and how it is left as found."""

from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.decision import Decision
from xai_adapters.model.outputs import OutputType, class_probabilities
from xai_adapters.model.random_state import kept_random_state, seeded
from xai_adapters.model.state import left_as_found

__all__ = [
    "BlackBox",
    "Decision",
    "OutputType",
    "class_probabilities",
    "kept_random_state",
    "left_as_found",
    "seeded",
]
