"""How a search samples its boxes in each step, by name."""

from typing import Literal

from xai_adapters.box.samplers.adversarial import AdversarialSampler
from xai_adapters.box.samplers.base import Sampler
from xai_adapters.box.samplers.fade_to_colour import FadeToColourSampler
from xai_adapters.box.samplers.importance import ImportanceSampler
from xai_adapters.box.samplers.masked_fraction import MaskedFractionSampler
from xai_adapters.box.samplers.uniform import UniformSampler

SamplingName = Literal["uniform", "importance", "masked_fraction", "fade_to_colour", "adversarial"]

SAMPLERS: dict[str, type[Sampler]] = {
    sampler.name: sampler
    for sampler in (
        UniformSampler,
        ImportanceSampler,
        MaskedFractionSampler,
        FadeToColourSampler,
        AdversarialSampler,
    )
}

__all__ = ["SAMPLERS", "Sampler", "SamplingName"]
