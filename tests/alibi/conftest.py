from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from unittest import mock

import pytest

import xai_adapters

_PARTS = ("", ".base", ".convention", ".fimap", ".invariant_box", ".options")
_MODULES = tuple(f"xai_adapters.alibi{part}" for part in _PARTS)


def without_alibi() -> ModuleType:
    """The adapter as it is where Alibi is not installed, beside the one that is imported."""
    find_spec = importlib.util.find_spec

    def hidden(name: str, package: str | None = None) -> object:
        return None if name == "alibi" else find_spec(name, package)

    kept = {name: sys.modules.pop(name, None) for name in _MODULES}
    try:
        with mock.patch("importlib.util.find_spec", hidden):
            return importlib.import_module("xai_adapters.alibi")
    finally:
        vars(xai_adapters).pop("alibi", None)
        for name, module in kept.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
        if kept["xai_adapters.alibi"] is not None:
            xai_adapters.alibi = kept["xai_adapters.alibi"]


@pytest.fixture(
    scope="session",
    params=["with alibi", "without alibi"] if importlib.util.find_spec("alibi") else [None],
)
def adapter(request) -> ModuleType:
    """The adapter on Alibi's own bases where it is installed, and on ours."""
    if request.param == "without alibi":
        return without_alibi()
    return importlib.import_module("xai_adapters.alibi")
