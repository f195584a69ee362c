"""Results of earlier schema versions, in the words of the present one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Explainers that have been renamed since schema version 2.
RENAMED_EXPLAINERS = {
    "fimap_check": "fimap_line_search",
    "fimap_put_back": "fimap_sparsify",
    "invariant_box_exit": "invariant_box_counterfactual",
}

# Roles of explainers, which earlier versions knew by their names.
ROLES = {
    **dict.fromkeys(("fimap", "invariant_box", "directed_box", "fimap_as_fitted"), "ours"),
    **dict.fromkeys(("fimap_line_search", "fimap_sparsify", "fimap_local_search"), "ours"),
    "invariant_box_counterfactual": "ours", "greedy": "upper bound", "random": "chance",
}  # fmt: skip


def upgraded(results: dict[str, Any]) -> dict[str, Any]:
    """The content of `results.json` as the present version writes it.

    Example:
        >>> upgraded({"schema_version": 2, "settings": {"n_seeds": 3}})["settings"]
        {'seeds': 3}
    """
    if results["schema_version"] >= 3:
        return results
    settings = dict(results["settings"])
    seeds = settings.pop("n_seeds", 1)
    # How the command line was called was a part of its own, with the same options.
    called = settings.pop("request", {})
    examples = dict(results.get("examples") or {})
    if examples:
        examples["target_classes"] = examples.pop("reached")
    present: dict[str, Any] = renamed({
        **results,
        "settings": {**called, **settings, "seeds": seeds},
        "examples": examples or None,
        "schema_version": 3,
    })  # fmt: skip
    for run in present.get("explainers", []):
        run["role"] = ROLES.get(run["name"], "comparator")
    return present


def renamed(value: Any) -> Any:
    """The same values with the present names of explainers, also as keys."""
    if isinstance(value, Mapping):
        return {RENAMED_EXPLAINERS.get(key, key): renamed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [renamed(each) for each in value]
    return RENAMED_EXPLAINERS.get(value, value) if isinstance(value, str) else value
