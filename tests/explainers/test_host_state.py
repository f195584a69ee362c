"""Calls of hosts leave the global state as they found it."""

import random

import numpy as np
import pytest
import torch

from xai_adapters.explainers.host_state import seeded_and_silent


def test_global_state_comes_back_after_an_error(capsys: pytest.CaptureFixture[str]):
    def states() -> list[object]:
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return [random.getstate(), numpy, torch.get_rng_state().tolist()]

    def host() -> None:
        with seeded_and_silent(3, torch.device("cpu")):
            print("loud", random.random(), np.random.rand(), torch.rand(1))  # noqa: NPY002
            torch.backends.cudnn.deterministic = not flag
            raise ZeroDivisionError

    before, flag = states(), torch.backends.cudnn.deterministic
    with pytest.raises(ZeroDivisionError):
        host()
    assert states() == before
    assert torch.backends.cudnn.deterministic == flag
    assert capsys.readouterr().out == ""
