"""The user's table: what its columns are, and how they may change."""

from xai_adapters.features.array_black_box import ArrayBlackBox
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.features.inference import infer_schema
from xai_adapters.features.kinds import Categorical, Continuous
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.features.standardization import standardization

__all__ = [
    "ArrayBlackBox",
    "Categorical",
    "Continuous",
    "FeatureGroups",
    "FeatureSchema",
    "infer_schema",
    "standardization",
]
