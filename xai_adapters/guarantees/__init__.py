"""How far a box can be relied on: sampled, attacked with gradients, or proven."""

from xai_adapters.guarantees.attack import Attack, attack_box
from xai_adapters.guarantees.certified_bounds import Certifier, certified_scale
from xai_adapters.guarantees.report import BoxGuarantees, box_guarantees
from xai_adapters.guarantees.sampling_bound import largest_safe_scale, violating_mass
from xai_adapters.guarantees.scaled_box import scaled_box

__all__ = [
    "Attack",
    "BoxGuarantees",
    "Certifier",
    "attack_box",
    "box_guarantees",
    "certified_scale",
    "largest_safe_scale",
    "scaled_box",
    "violating_mass",
]
