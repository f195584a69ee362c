"""The options of Alibi's explainers: those we share, those we ignore, and those we refuse."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

from xai_adapters.errors import NotApplicableError
from xai_adapters.features.arguments import Bound


class FeatureOptions(TypedDict, total=False):
    """Alibi's words for features; `FeatureSchema.from_alibi` documents each of them."""

    feature_names: Sequence[str] | None
    category_map: Mapping[int, Sequence[Any]] | None
    cat_vars: Mapping[int, int] | None
    ohe: bool
    feature_range: tuple[Bound, Bound] | None
    immutable_features: Sequence[str] | None
    ranges: Mapping[str, Sequence[float]] | None


# How Alibi's explainers search; ours ignore these options, with a warning, but for those refused.
_INIT = """
distance_fn target_proba max_iter early_stop lam_init max_lam_steps tol learning_rate_init eps init
decay write_dir debug sess kappa beta gamma ae_model enc_model theta use_kdtree max_iterations
c_init c_steps clip update_num_grad encoder decoder encoder_preprocessor decoder_inv_preprocessor
coeff_sparsity coeff_consistency weight_num weight_cat latent_dim backend train_steps
"""
_FIT = (
    "trustscore_kwargs d_type w disc_perc standardize_cat_vars smooth center update_feature_range"
)
_EXPLAIN = """
Y k k_type threshold verbose print_every log_every C batch_size diversity num_samples patience
tolerance
"""
_ONE_A_ROW = "one counterfactual is found for each row"
_DECIDE = (
    "explain a predictor that decides at the probability you want, such as "
    "lambda X: predict_proba(X)[:, 1] >= 0.9"
)
# What would constrain the result, which is never ignored: values that do not, and what to do.
_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "C": (
        (None, [], [{}]),
        "describe what may change with immutable_features and ranges, or with a schema, when the "
        "explainer is made",
    ),
    "diversity": ((None, False), _ONE_A_ROW),
    "num_samples": ((None, 1), _ONE_A_ROW),
    "target_proba": ((None,), _DECIDE),
    "tol": ((None,), _DECIDE),
}
IGNORED_BY_INIT = frozenset(_INIT.split())
IGNORED_BY_FIT = frozenset(_FIT.split())
IGNORED_BY_EXPLAIN = frozenset(_EXPLAIN.split())


def without_ignored(
    options: Mapping[str, Any], ignored: Collection[str], *, stacklevel: int
) -> dict[str, Any]:
    """The options that are not ignored; for those that are set to something, warn.

    Args:
        options: by name.
        ignored: names to ignore.
        stacklevel: of the warning, so that it points to the caller's line.

    Raises:
        NotApplicableError: a `TypeError`, for an option that would constrain the result.
    """
    for name, (harmless, what_to_do) in _REFUSED.items():
        if name in options and options[name] not in harmless:
            raise NotApplicableError(
                f"{name}={options[name]!r:.60} cannot be kept by this explainer: {what_to_do}"
            )
    given = sorted(
        name for name in ignored if name not in _REFUSED and options.get(name) is not None
    )
    if given:
        warnings.warn(
            f"{', '.join(given)}: ignored, as they tell Alibi's own explainers how to search",
            stacklevel=stacklevel,
        )
    return {name: value for name, value in options.items() if name not in ignored}
