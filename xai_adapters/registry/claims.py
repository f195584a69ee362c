"""What explainers have in common to promise, and reasons why some do not.

A claim is the error that an explainer states of itself for an axiom of `xai_adapters.axioms`,
relative to the axiom's scale; 0 allows for rounding alone. A string instead is the reason why the
axiom is not claimed. Each explainer's own claims stand at its maker.
"""

from __future__ import annotations

from typing import Literal

Claims = dict[str, float | str]

SLOPE = "a slope is not a share of the output"
SLOPES_JUMP = "slopes jump at the kinks of a model"
AT_KINKS = "at a kink the slope depends on how the function is written"
SAMPLED = "its samples differ from call to call; only their mean is exact"
GLOBAL_GENERATORS = "it draws from the global random generators"
DISTANCE = "a distance to a decision is not a share of the output"

SOFTWARE_CONTRACT: Claims = {
    "inputs_in_parts": "registered explainers take one tensor",
    "target_forms": "registered explainers take one target per row",
    "batch_independence": 0,
    "determinism": 0,
    "seed_independence": 0,
    "random_state_kept": 0,
    "well_formed": 0,
    "left_as_found": 0,
    "left_as_found_after_error": 0,
}
# An error of 1 is no limit: the measured value is only reported.
SANITY: Claims = {"model_randomization": 0, "label_randomization": 0, "manipulation": 1}
FOLLOWS_FUNCTION: Claims = {
    "dummy": 0,
    "linearity": 0,
    "additivity": 0,
    "symmetry": 0,
    "implementation_invariance": 0,
    "scaling": 0,
    "output_shift": 0,
    "target_consistency": 0,
}
# What an explainer claims that always gives the same answer, and one that reads the function alone.
DETERMINISTIC: Claims = {**SOFTWARE_CONTRACT, **SANITY}
FUNCTIONAL: Claims = {**DETERMINISTIC, **FOLLOWS_FUNCTION}
# What changes where the explainer samples with the global generators.
SAMPLES: Claims = {
    **{name: SAMPLED for name in FOLLOWS_FUNCTION if name != "dummy"},
    "batch_independence": SAMPLED,
    "seed_independence": GLOBAL_GENERATORS,
    "random_state_kept": GLOBAL_GENERATORS,
    "manipulation": SAMPLED,
    "stability": SAMPLED,
}
SHAPLEY: Claims = {
    **FUNCTIONAL,
    **dict.fromkeys(FOLLOWS_FUNCTION, 1e-4),
    "completeness": 1e-4,
    "sensitivity": "its baseline is a set of rows",
    "input_invariance": 1e-4,
    "stability": 2,
}
# Scores that are distances to a decision.
DISTANCES: Claims = {
    **DETERMINISTIC,
    **dict.fromkeys(("completeness", "sensitivity", "linearity", "additivity"), DISTANCE),
}
# Widths of a box, as scores that rank features from the narrowest to the widest.
WIDTHS: Claims = {
    **DISTANCES,
    "dummy": "widths are limited to each column's range, and scores count from the widest",
    "target_consistency": 0.01,
}

LAST_STEP = "it ends by bisection, which leaves a share of the step"
# What every generator should keep that queries the model before it answers.
QUERIES_MODEL: Claims = {
    "validity": 0,
    "coverage": "it may miss counterfactuals that exist",
    "target_reached": "registered generators cannot be given a target class",
    "honest_success": "it does not report success",
    "constraints": 0,
    "one_hot": 0,
    "counterfactual_batch_independence": 1e-5,
    "idempotence": "it trusts the classes that it is given for the rows",
    "no_needless_change": "it does not try to undo its changes one by one",
    "shortest_step": LAST_STEP,
    "linear_length": LAST_STEP,
    "linear_direction": "it does not know the normal of a boundary",
}


def claims_nothing(
    reason: str, kind: Literal["attribution", "counterfactual"] = "attribution"
) -> Claims:
    """No claim to any axiom of a kind, for one reason.

    Example:
        >>> claims_nothing("it needs an image")["dummy"]
        'it needs an image'
    """
    return dict.fromkeys(SHAPLEY if kind == "attribution" else QUERIES_MODEL, reason)
