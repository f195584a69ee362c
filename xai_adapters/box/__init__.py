"""Maximal invariant perturbation: the largest box around a row in which its class stays."""

from xai_adapters.box.explainer import InvariantBox
from xai_adapters.box.linear_program import LinearProgramBox, linear_program_box
from xai_adapters.box.result import Box
from xai_adapters.box.settings import BoxOptions, InvariantBoxOptions

__all__ = [
    "Box",
    "BoxOptions",
    "InvariantBox",
    "InvariantBoxOptions",
    "LinearProgramBox",
    "linear_program_box",
]
