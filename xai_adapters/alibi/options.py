"""The options of Alibi's explainers: those that describe features, and those that are ignored."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypedDict

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


# How Alibi's explainers search; ours ignore these options, with a warning.
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
    """
    given = sorted(name for name in ignored if options.get(name) is not None)
    if given:
        warnings.warn(
            f"{', '.join(given)}: ignored, as they tell Alibi's own explainers how to search",
            stacklevel=stacklevel,
        )
    return {name: value for name, value in options.items() if name not in ignored}
