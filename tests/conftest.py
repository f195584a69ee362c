from __future__ import annotations

import os

import torch
from hypothesis import Phase, settings

settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=25,
    # Not the explain phase: it prints torch's insides.
    phases=(Phase.explicit, Phase.generate, Phase.target, Phase.shrink),
)
settings.load_profile("reproducible")

# The networks are too small for several threads to help, and sums come out alike on all machines.
torch.set_num_threads(1)
# In processes that tests start, too.
os.environ["OMP_NUM_THREADS"] = "1"
