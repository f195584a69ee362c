"""Maximal invariant perturbation: the largest box around a row in which its class stays."""

from xai_adapters.box.explainer import Box, InvariantBox
from xai_adapters.box.linear_program import LinearProgramBox, linear_program_box

__all__ = ["Box", "InvariantBox", "LinearProgramBox", "linear_program_box"]
