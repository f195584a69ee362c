"""How much memory work takes, where the operating system tells."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory held since the meter was made, beyond what was held then.

    Args:
        device: whose memory is meant: this process's own, or that of the process on an accelerator.
    """

    def __init__(self, device: torch.device) -> None:
        self._accelerator = None if device.type == "cpu" else torch.get_device_module(device)
        self._held: int | None = None
        try:
            if self._accelerator is None:
                _RESET.write_text("5")  # the high-water mark begins anew
            else:
                self._accelerator.reset_peak_memory_stats()
            self._held = self._now("VmRSS")
        # Only Linux tells, and not every accelerator.
        except (OSError, AttributeError):
            pass

    def taken(self) -> float | None:
        """Bytes; None where nobody tells."""
        return None if self._held is None else float(max(0, self._now("VmHWM") - self._held))

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
