"""Calls of hosts that seed every global generator, print, and switch cuDNN's settings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch

from xai_adapters.model.random_state import seeded


@contextmanager
def seeded_and_silent(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random states and silence printing; restore both, and cuDNN's settings.

    Example:
        >>> before = torch.random.get_rng_state()
        >>> with seeded_and_silent(0, torch.device("cpu")):
        ...     print(torch.rand(()))
        >>> torch.equal(torch.random.get_rng_state(), before)
        True
    """
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    with seeded(seed, device), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = flags
