"""The user's model: how it is queried, what its answers mean, and how it is left as found."""

from xai_adapters.model.black_box import BlackBox, BlackBoxOptions
from xai_adapters.model.decision import Decision
from xai_adapters.model.gradients import input_gradient
from xai_adapters.model.outputs import OutputType, class_logits, class_probabilities
from xai_adapters.model.random_state import kept_random_state, seeded
from xai_adapters.model.state import left_as_found

__all__ = [
    "BlackBox",
    "BlackBoxOptions",
    "Decision",
    "OutputType",
    "class_logits",
    "class_probabilities",
    "input_gradient",
    "kept_random_state",
    "left_as_found",
    "seeded",
]
