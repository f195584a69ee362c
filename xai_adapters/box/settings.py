"""The options of `InvariantBox` that every explainer built on it takes too."""

from __future__ import annotations

from typing import TypedDict

import torch

from xai_adapters.box.draws import DrawsName
from xai_adapters.box.hinge import HingeOn, OverClasses
from xai_adapters.box.optimizer import Optimizer, Schedule
from xai_adapters.model.faster_model import Compiled


class BoxOptions(TypedDict, total=False):
    """Options that are passed on to `InvariantBox`, which documents each of them."""

    penalty: float | None
    hinge_on: HingeOn
    over_classes: OverClasses
    draws: DrawsName
    optimizer: Optimizer
    step_size: float
    schedule: Schedule
    n_steps: int
    n_draws: int
    tolerance: float
    patience: int
    n_check_draws: int
    autocast: torch.dtype | None
    channels_last: bool
    compiled: Compiled
    seed: int
