"""The command line: `xai-adapters benchmark`, `compare`, `report`, `axioms` and `list`."""

from xai_adapters.cli.application import main

__all__ = ["main"]
