from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from xai_adapters.benchmark.run import processes
from xai_adapters.benchmark.run.blocks import Block


class Parent:
    """The other end of a process's connection, which hears so much and then is gone."""

    def __init__(self, hears: int) -> None:
        self.hears, self.heard = hears, 0

    def recv(self) -> Block:
        return Block("any", 0, 0, 1)

    def send(self, said: Any) -> None:
        if self.heard == self.hears:
            raise BrokenPipeError
        self.heard += 1


@pytest.mark.parametrize("hears", [0, 1, 2])
def test_a_process_ends_quietly_when_its_parent_is_gone(
    hears: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    bench = SimpleNamespace(task=SimpleNamespace(rows=torch.zeros(1, 1)))
    parent = Parent(hears)
    processes._serve(parent, pickle.dumps((bench, None, 1)))  # type: ignore[arg-type]
    assert parent.heard == hears
