"""Features restricted by DiCE's `features_to_vary` and `permitted_range`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xai_adapters.errors import InvalidInputError
from xai_adapters.features.arguments import pair, require_known
from xai_adapters.features.kinds import Categorical, Feature


def restricted(
    features: Sequence[Feature],
    vary: str | Sequence[str],
    ranges: Mapping[str, Sequence[Any]],
) -> list[Feature]:
    """The features, restricted as `FeatureSchema.restricted` documents."""
    names = [feature.name for feature in features]
    if vary == "all":
        vary = names
    if isinstance(vary, str):
        raise InvalidInputError(f"features_to_vary must be 'all' or a list of names, not {vary!r}")
    require_known([*vary, *ranges], names)
    return [
        replace(
            feature,
            mutable=feature.mutable and feature.name in vary,
            **_permitted(feature, ranges[feature.name]) if feature.name in ranges else {},
        )
        for feature in features
    ]


def _permitted(feature: Feature, values: Sequence[Any]) -> dict[str, Any]:
    if isinstance(feature, Categorical):
        return {"allowed": tuple(values)}
    lower, upper = pair(feature.name, values)
    return {"lower": lower, "upper": upper}
