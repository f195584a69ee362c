"""FIMAP and maximal invariant perturbation as Captum attributions.

Importing this package imports Captum. Where Captum's classes take a `target`, so do these: None, an
int, a tuple, a one-element tensor, or one of these for each row, meaning `output[:, *target]`.
Inputs are a tensor or a tuple of tensors whose dimension 0 numbers the examples.
"""

from xai_adapters.errors import require

require("captum", "captum")

from xai_adapters.captum.fimap import FIMAP  # noqa: E402
from xai_adapters.captum.invariant_box import MaximalInvariantPerturbation  # noqa: E402

__all__ = ["FIMAP", "MaximalInvariantPerturbation"]
