"""FIMAP and maximal invariant perturbation as Alibi's counterfactual explainers.

Importing this package imports Alibi if it is installed (some seconds); otherwise the same classes
are based on an `Explainer` and an `Explanation` of our own with the same fields. Rows are arrays
(n, d), or (n, ...) for images, and results are arrays of the same form.

Both classes take the options by which Alibi's explainers describe features: `feature_names`,
`category_map` or `cat_vars` with `ohe`, `feature_range`, `immutable_features` and `ranges`;
`FeatureSchema.from_alibi` documents them. As in CounterfactualRLTabular, changed numbers stay
inside the range of the rows of `fit` if `category_map` or `ranges` are given and `feature_range` is
not. Options of how Alibi's explainers search (`max_iter`, `beta`, `encoder` and others) are ignored
with a warning.
"""

from xai_adapters.alibi.convention import Explanation
from xai_adapters.alibi.fimap import FIMAPCounterfactual
from xai_adapters.alibi.invariant_box import InvariantBoxCounterfactual

__all__ = ["Explanation", "FIMAPCounterfactual", "InvariantBoxCounterfactual"]
