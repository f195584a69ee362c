"""What each registered explainer promises, and why it does not promise the rest.

A number is the error that the explainer states of itself, relative to the axiom's scale; 0 is none
but rounding. A text is the reason why theory, or the way it is computed, does not let it promise
that axiom. The axioms are those of `xai_adapters.axioms`; whether a claim holds is for them to say.
"""

from __future__ import annotations

from typing import Any, Literal

Claims = dict[str, float | str]

_SLOPE = "a slope is no share of the output"
_FLAT = "a slope is 0 where the output is flat, as 1 - relu(1 - x) is at 2"
_JUMPS = "slopes jump at the kinks of a model"
_AT_KINKS = "at a kink its slope depends on how the function is written"
_FIXED_BASELINE = "its baseline stays where it is when rows are moved"
_SAMPLED = "its draws differ from call to call; it is exact in the mean alone"
_GLOBAL = "it draws from the global generators"
_ONE_TENSOR = "a registered explainer takes one tensor"
_ONE_TARGET_A_ROW = "a registered explainer takes one target a row"
_NO_DECISION = "what is near a decision is no share of the output"
_REFIT = "two fits to models of other weights begin and end differently"
_SEVERAL = "a linear program may have several solutions"
# Where steps are as long as a box is wide, a search makes of rounding as much as of other draws.
_ROUNDED_SEARCH = 0.1
_SAMPLED_BOX = "its draws of the box's points differ from feature to feature"

_CALLED: Claims = {"inputs_in_parts": _ONE_TENSOR, "target_forms": _ONE_TARGET_A_ROW}
_CONDUCT: Claims = {
    **_CALLED,
    "batch_independence": 0,
    "determinism": 0,
    "seed_independence": 0,
    "random_state_kept": 0,
    "well_formed": 0,
    "left_as_found": 0,
    "left_as_found_after_error": 0,
}
_SAMPLING_CONDUCT: Claims = {
    **_CONDUCT,
    "batch_independence": _SAMPLED,
    "seed_independence": _GLOBAL,
    "random_state_kept": _GLOBAL,
    "manipulation": _SAMPLED,
}
# A share of 1 is no bound: the number is only reported.
_LOOKS: Claims = {"model_randomization": 0, "label_randomization": 0, "manipulation": 1}
_FOLLOWS_FUNCTION: Claims = {
    "dummy": 0,
    "linearity": 0,
    "additivity": 0,
    "symmetry": 0,
    "implementation_invariance": 0,
    "scaling": 0,
    "output_shift": 0,
    "target_consistency": 0,
}
_SAMPLED_FUNCTION: Claims = {
    name: _SAMPLED for name in _FOLLOWS_FUNCTION if name not in ("dummy", "target_consistency")
}

_SALIENCY: Claims = {
    **_CONDUCT,
    **_FOLLOWS_FUNCTION,
    **_LOOKS,
    "completeness": _SLOPE,
    "sensitivity": _FLAT,
    "implementation_invariance": _AT_KINKS,
    "input_invariance": 0,
    "stability": _JUMPS,
}
_INTEGRATED_GRADIENTS: Claims = {
    **_CONDUCT,
    **_FOLLOWS_FUNCTION,
    **_LOOKS,
    "completeness": 0.05,
    "sensitivity": 0,
    "input_invariance": _FIXED_BASELINE,
    "stability": "a path along a kink has neighbours on both sides of it",
}
_DEEP_LIFT: Claims = {
    **_INTEGRATED_GRADIENTS,
    "completeness": 0,
    "implementation_invariance": "its chain rule is not that of derivatives",
    "stability": "its multipliers jump where an activation equals the baseline's",
}
_OCCLUSION: Claims = {
    **_CONDUCT,
    **_FOLLOWS_FUNCTION,
    **_LOOKS,
    "completeness": "features taken away one by one add up for additive models alone",
    "sensitivity": 0,
    "input_invariance": _FIXED_BASELINE,
    "stability": 2,
}
_SHAP: Claims = {
    **_CONDUCT,
    **dict.fromkeys(_FOLLOWS_FUNCTION, 1e-4),
    **_LOOKS,
    "completeness": 1e-4,
    "sensitivity": "its baseline is a set of rows",
    "input_invariance": 1e-4,
    "stability": 2,
}

_UNTOLD = "a registered generator is not told which class to reach"
_SILENT = "it says nothing of its success"
_MAY_FAIL = "it may find none where there is one"
_FITTED_WAY = "a fitted network's way is near the shortest, not the shortest"
_LAST_STEP = "its last steps are halvings, which leave a share of the way"
_GIVEN_ORIGIN = "it takes the classes that it is given for the rows' own"
_TRAINED = "its network is trained for minutes on each model"
_ONE_TREE = "it explains a single decision tree, and the axioms draw networks"

# What every generator that asks the model before it answers should keep.
_CHECKED: Claims = {
    "validity": 0,
    "coverage": _MAY_FAIL,
    "target_reached": _UNTOLD,
    "honest_success": _SILENT,
    "constraints": 0,
    "one_hot": 0,
    "counterfactual_batch_independence": 1e-5,
    "idempotence": _GIVEN_ORIGIN,
    "no_needless_change": "what it changes is not tried one by one",
    "shortest_step": _LAST_STEP,
    "linear_length": _LAST_STEP,
    "linear_direction": "it does not know the normal of a boundary",
}
_FIMAP_CHECKED: Claims = {
    **_CHECKED,
    "target_reached": 0,
    "honest_success": 0,
    "idempotence": 0,
    "linear_length": _FITTED_WAY,
    "linear_direction": _FITTED_WAY,
}
_EXACT: Claims = {
    **_CHECKED,
    "coverage": 0,
    "idempotence": 0,
    "no_needless_change": 0,
    "shortest_step": 0,
    "linear_length": 0,
    "linear_direction": 0,
}
_GRID = "the nearest of a grid's points lies behind the nearest of all"
_DICE: Claims = {
    **_CHECKED,
    "validity": "it may give what it found last, which is not always one",
    "counterfactual_batch_independence": _GLOBAL,
}
_BOXES: Claims = {
    "sampled_invariance": "its penalty weighs how far points leave the class, not how many",
    "attack_inside": "it keeps the class on average, and a corner may have another",
    "width_within_bound": 0,
    "monotone_in_bound": 0.1,
    "irrelevant_width": 0,
    "box_scaling": "its steps are in the inputs' unit",
    "box_permutation": _SAMPLED_BOX,
    "box_batch_independence": 1e-5,
}

_LINEAR_PROGRAM: Claims = {
    **_CONDUCT,
    **_LOOKS,
    "completeness": _NO_DECISION,
    "sensitivity": _NO_DECISION,
    "dummy": "widths are bounded by each column's range, and scores count from the widest",
    "linearity": _NO_DECISION,
    "additivity": _NO_DECISION,
    "symmetry": _SEVERAL,
    "implementation_invariance": _AT_KINKS,
    "scaling": "its objective adds widths up in the inputs' unit",
    "output_shift": 0.01,
    "input_invariance": 0.01,
    "target_consistency": 0.01,
    "stability": _JUMPS,
}

CLAIMS: dict[str, Claims] = {
    "fimap_as_fitted": {
        **_FIMAP_CHECKED,
        "validity": "what flips the surrogate need not flip the model",
        "target_reached": "what reaches a class of the surrogate need not reach the model's",
        "honest_success": _SILENT,
        "shortest_step": _FITTED_WAY,
    },
    "fimap_line_search": _FIMAP_CHECKED,
    "fimap_sparsify": {
        **_FIMAP_CHECKED,
        "no_needless_change": "the last step is shortened after the needless changes are undone",
    },
    "fimap_local_search": _FIMAP_CHECKED,
    "invariant_box_counterfactual": {
        **_CHECKED,
        "no_needless_change": "features are tried once, and others are put back after them",
    },
    "nearest_leaf": dict.fromkeys(_CHECKED, _ONE_TREE),
    "nearest_on_plane": _EXACT,
    "nearest_on_grid": {
        **_EXACT, "no_needless_change": _GRID, "shortest_step": _GRID, "linear_length": _GRID,
        "linear_direction": _GRID,
    },
    "nearest_unlike": {**_CHECKED, "coverage": 0, "idempotence": 0},
    "growing_spheres": _CHECKED,
    "wachter": _CHECKED,
    "gradient_ascent": _CHECKED,
    "dice_random": _DICE,
    "dice_genetic": dict.fromkeys(
        _CHECKED, "where nothing is permitted that flips, it searches for minutes"
    ),
    "dice_gradient": dict.fromkeys(_CHECKED, "it takes minutes for a few rows"),
    "dice_kdtree": _DICE,
    "cfrl": dict.fromkeys(_CHECKED, _TRAINED),
    "fimap": {
        **_CONDUCT,
        **_LOOKS,
        "completeness": _NO_DECISION,
        "sensitivity": _NO_DECISION,
        "dummy": "a fitted perturbation moves every feature a little",
        "linearity": _REFIT,
        "additivity": _REFIT,
        "symmetry": _REFIT,
        "implementation_invariance": 0.01,
        "scaling": 0.01,
        "output_shift": 0.01,
        "input_invariance": 0.01,
        "target_consistency": _REFIT,
        "stability": "a neighbour across the decision is moved the other way",
    },
    "invariant_box": {
        **_CONDUCT,
        **_LOOKS,
        "completeness": _NO_DECISION,
        "sensitivity": _NO_DECISION,
        "dummy": "widths are bounded by each column's range, and scores count from the widest",
        "linearity": _NO_DECISION,
        "additivity": _NO_DECISION,
        "symmetry": _SAMPLED_BOX,
        "implementation_invariance": _ROUNDED_SEARCH,
        "scaling": "its steps are in the inputs' unit",
        "output_shift": _ROUNDED_SEARCH,
        "input_invariance": _ROUNDED_SEARCH,
        "target_consistency": 0.01,
        "stability": "a row across the decision has a box of no width",
        **_BOXES,
    },
    "linear_program": _LINEAR_PROGRAM,
    "linear_program_smooth": _LINEAR_PROGRAM,
    "saliency": _SALIENCY,
    "input_x_gradient": {**_SALIENCY, "input_invariance": _FIXED_BASELINE},
    "integrated_gradients": _INTEGRATED_GRADIENTS,
    "integrated_gradients_mask": _INTEGRATED_GRADIENTS,
    "guided_backprop": {
        **_SALIENCY,
        "linearity": "it drops negative slopes on the way",
        "additivity": "it drops negative slopes on the way",
        "implementation_invariance": "its chain rule is not that of derivatives",
    },
    "deep_lift": _DEEP_LIFT,
    "deep_lift_mask": _DEEP_LIFT,
    "lrp": {
        **_DEEP_LIFT,
        "completeness": "biases keep the shares that are theirs",
        "sensitivity": "where an activation is 0 nothing is handed on",
        "linearity": "shares depend on the activations' magnitudes",
        "additivity": "shares depend on the activations' magnitudes",
        "output_shift": "it starts from the output, of which a constant is part",
    },
    "occlusion": _OCCLUSION,
    "occlusion_mask": _OCCLUSION,
    "smooth_grad": {
        **_SALIENCY,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "target_consistency": _SAMPLED,
        "input_invariance": _SAMPLED,
        "stability": _SAMPLED,
    },
    "gradient_shap": {
        **_SHAP,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "dummy": 0,
        "completeness": _SAMPLED,
        "target_consistency": _SAMPLED,
        "input_invariance": _SAMPLED,
        "stability": _SAMPLED,
    },
    "kernel_shap": {
        **_OCCLUSION,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "completeness": 0.01,
        "dummy": 0.01,
        "target_consistency": _SAMPLED,
        "stability": _SAMPLED,
    },
    "lime": {
        **_OCCLUSION,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "completeness": "a penalised fit near a row does not reach the baseline",
        "sensitivity": "its penalty sets small weights to 0",
        "dummy": 0.05,
        "target_consistency": _SAMPLED,
        "stability": _SAMPLED,
    },
    "shapley_value_sampling": {
        **_OCCLUSION,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "completeness": 1e-4,
        "target_consistency": _SAMPLED,
        "stability": _SAMPLED,
    },
    "shap_kernel": _SHAP,
    "shap_permutation": {
        **_SHAP,
        "symmetry": "ten orders of the features are not all of them",
        "random_state_kept": _GLOBAL,
        "batch_independence": "its generator runs on from row to row",
    },
    "lime_tabular": {
        **_SHAP,
        **_SAMPLING_CONDUCT,
        **_SAMPLED_FUNCTION,
        "completeness": _SLOPE,
        "dummy": 0.05,
        "input_invariance": _SAMPLED,
        "target_consistency": _SAMPLED,
        "stability": _SAMPLED,
    },
    "greedy": {},
    "random": {
        **dict.fromkeys(
            (*_FOLLOWS_FUNCTION, *_LOOKS, "completeness", "sensitivity", "input_invariance",
             "stability", "batch_independence"),
            "it says nothing about the model",
        ),
        **{name: claim for name, claim in _CONDUCT.items() if name != "batch_independence"},
        "seed_independence": _GLOBAL,
        "random_state_kept": _GLOBAL,
    },
}  # fmt: skip
CLAIMS["greedy"] = {
    **dict.fromkeys(CLAIMS["random"], "it needs an image, and bounds the others on one")
}
CLAIMS["rise"] = CLAIMS["learned_mask"] = dict.fromkeys(CLAIMS["random"], "it needs an image")
CLAIMS["directed_box"] = dict.fromkeys(
    CLAIMS["random"], "its baseline is the colour of a masked pixel"
)

UNITS: dict[str, Literal["output", "output/input", "input"]] = {
    **dict.fromkeys(
        ("fimap", "invariant_box", "linear_program", "linear_program_smooth"), "input"
    ),
    **dict.fromkeys(("saliency", "guided_backprop", "smooth_grad"), "output/input"),
    **dict.fromkeys(
        (
            "input_x_gradient", "integrated_gradients", "integrated_gradients_mask", "deep_lift",
            "deep_lift_mask", "lrp", "occlusion", "occlusion_mask", "gradient_shap",
            "kernel_shap", "lime", "shapley_value_sampling", "shap_kernel", "shap_permutation",
        ),
        "output",
    ),
}  # fmt: skip

DOMAINS: dict[str, dict[str, Any]] = {
    "lrp": {"activations": ("relu", "tanh")},  # Captum has rules for these
    "kernel_shap": {"min_features": 2},  # a coalition of one feature has nothing to be drawn from
    "nearest_on_plane": {"max_hidden_layers": 0},
    "nearest_on_grid": {"min_features": 2, "max_features": 2},
}

# Those that ask for class probabilities, whatever the model gives.
READ_PROBABILITIES = frozenset(
    {
        "fimap", "invariant_box", "linear_program", "linear_program_smooth", "shap_kernel",
        "shap_permutation", "lime_tabular",
    }
)  # fmt: skip
