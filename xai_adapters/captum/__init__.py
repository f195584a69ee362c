"""FIMAP and maximal invariant perturbation as Captum attributions.

Importing this package imports Captum.
"""

from xai_adapters.errors import require

require("captum", "captum")

from xai_adapters.captum.attributions import FIMAP, MaximalInvariantPerturbation  # noqa: E402

__all__ = ["FIMAP", "MaximalInvariantPerturbation"]
