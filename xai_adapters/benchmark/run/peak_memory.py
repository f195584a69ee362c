"""Peak memory of a piece of work, where the operating system reports it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory held since the last call of `taken`, beyond what was held at the start.

    Args:
        device: the memory to measure: this process's on the CPU, or that on an accelerator.
    """

    def __init__(self, device: torch.device) -> None:
        self._accelerator = None if device.type == "cpu" else torch.get_device_module(device)
        self._held: int | None = None
        # Only Linux reports it, and not every accelerator.
        with suppress(OSError, AttributeError):
            self._restart()
            self._held = self._now("VmRSS")

    def taken(self) -> float | None:
        """Bytes; None where they are not known."""
        if self._held is None:
            return None
        most = self._now("VmHWM")
        self._restart()
        return float(max(0, most - self._held))

    def _restart(self) -> None:
        if self._accelerator is None:
            _RESET.write_text("5")
        else:
            self._accelerator.reset_peak_memory_stats()

    def _now(self, line: str) -> int:
        if self._accelerator is not None:
            most = line == "VmHWM"
            found: int = getattr(self._accelerator, f"{'max_' * most}memory_allocated")()
            return found
        (found,) = (
            int(each.split()[1]) * 1024
            for each in _STATUS.read_text(encoding="utf-8").splitlines()
            if each.startswith(f"{line}:")
        )
        return found
