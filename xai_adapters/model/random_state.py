"""The global random states: left as they were found, and seeded for code that draws from them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def kept_random_state(device: torch.device | None) -> Iterator[None]:
    """Restore torch's random state of the CPU and of `device` at the end."""
    if device is not None and device.type != "cpu":
        with torch.random.fork_rng(devices=[device], device_type=device.type):
            yield
        return
    # What fork_rng does for the CPU, which takes too long when a model is asked about one row.
    state = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


@contextmanager
def seeded(seed: int | None, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, and restore them at the end.

    Args:
        seed: of all of them; None to continue from their present states.
        device: whose generator is seeded besides the CPU's.

    Example:
        >>> before = random.getstate()
        >>> with seeded(0):
        ...     first = random.random(), torch.rand(()).item()
        >>> with seeded(0):
        ...     first == (random.random(), torch.rand(()).item())
        True
        >>> random.getstate() == before
        True
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - hosts draw from it
    with kept_random_state(device):
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            # Not torch.manual_seed, which would reseed every accelerator too.
            torch.default_generator.manual_seed(seed)
            if device is not None and device.type != "cpu":
                torch.get_device_module(device).manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def derived_seed(*parts: object) -> int:
    """A seed below 2**31 that depends on all parts, and on nothing else.

    Example:
        >>> derived_seed(0, "lime") == derived_seed(0, "lime") != derived_seed(1, "lime")
        True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
