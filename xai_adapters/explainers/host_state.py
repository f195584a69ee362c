"""Calling hosts that seed every global generator, print, and switch cuDNN's settings."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import torch

from xai_adapters.core.model_state import kept_random_state


@contextmanager
def seeded_and_silent(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random states and swallow what is printed; afterwards all is as it was.

    Example:
        >>> before = random.getstate()
        >>> with seeded_and_silent(0, torch.device("cpu")):
        ...     print(random.random())
        >>> random.getstate() == before
        True
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - hosts draw from it
    cudnn = torch.backends.cudnn
    flags = cudnn.deterministic, cudnn.benchmark
    with (
        kept_random_state(device),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            cudnn.deterministic, cudnn.benchmark = flags
