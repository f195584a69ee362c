from __future__ import annotations

from functools import partial

import pytest
import torch

from xai_adapters.box.optimizer import RowOptimizer
from xai_adapters.errors import InvalidInputError

OPTIMIZERS = {
    "adam": "adam",
    "rmsprop": "rmsprop",
    "sgd": "sgd",
    "a class": torch.optim.Adagrad,
    "a partial": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "one with averages": torch.optim.ASGD,
    "one without a learning rate to speak of": torch.optim.Rprop,
}


def gradient(values, step):
    return torch.sin(7 * values + step)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", lambda done: 0.5**done])
def test_rows_that_are_kept_go_on_as_if_they_were_alone(name, schedule):
    start = torch.rand(4, 2, 3, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([True, False, True, False])
    together = RowOptimizer(OPTIMIZERS[name], start, 0.1, schedule)
    alone = RowOptimizer(OPTIMIZERS[name], start[kept], 0.1, schedule)
    for step in range(10):
        if step == 5:
            together.keep(kept)
        for optimizer in (together, alone):
            optimizer.step(gradient(optimizer.values, step), step / 10)
    assert torch.equal(together.values, alone.values)
    assert not torch.equal(together.values, start[kept])


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, 0.8535534, 0.5, 0.1464466]),
        (lambda done: done, [0.0, 0.25, 0.5, 0.75]),
    ],
)
def test_a_schedule_is_a_factor_of_the_step_size(schedule, factors):
    optimizer = RowOptimizer("sgd", torch.zeros(1, 1), 2.0, schedule)
    for step, factor in enumerate(factors):
        before = optimizer.values.clone()
        optimizer.step(torch.ones(1, 1), step / 4)
        assert (before - optimizer.values).item() == pytest.approx(2 * factor)


def test_optimisers_that_ask_again_or_mix_rows_are_named():
    with pytest.raises(InvalidInputError, match="LBFGS asks for the objective again"):
        RowOptimizer(torch.optim.LBFGS, torch.zeros(2, 1), 0.1, "constant")
    optimizer = RowOptimizer(torch.optim.Adafactor, torch.zeros(2, 3, 4), 0.1, "constant")
    with pytest.raises(InvalidInputError, match="Adafactor keeps a row_var of shape"):
        optimizer.step(torch.ones(2, 3, 4), 0.0)


def test_rmsprop_by_name_is_torchs_with_a_shorter_memory():
    start = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    torchs = partial(torch.optim.RMSprop, alpha=0.97)
    ours, theirs = (RowOptimizer(one, start, 0.1, "sqrt") for one in ("rmsprop", torchs))
    for step in range(20):
        for optimizer in (ours, theirs):
            optimizer.step(gradient(optimizer.values, step), step / 20)
    assert torch.equal(ours.values, theirs.values)
    assert not torch.equal(ours.values, start)
