"""Two explainers and a test bench for people who use Captum, Alibi and SHAP.

The explainers themselves need torch and numpy alone and are exported here. Their host classes
live in `xai_adapters.captum`, which imports Captum when it is imported itself.
"""

from xai_adapters.box import Box, InvariantBox
from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema
from xai_adapters.fimap import Certainty, MinimalPerturbation, Perturbation
from xai_adapters.model.black_box import BlackBox

__version__ = "0.1.0"

__all__ = [
    "BlackBox",
    "Box",
    "Categorical",
    "Certainty",
    "Continuous",
    "FeatureSchema",
    "InvariantBox",
    "MinimalPerturbation",
    "Perturbation",
    "__version__",
]
