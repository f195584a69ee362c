from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, nn

from xai_adapters.errors import InvalidInputError
from xai_adapters.guarantees import attack_box, box_guarantees, scaled_box


def network(seed: int, n_out: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, n_out))


@settings(max_examples=5)
@given(st.integers(0, 1000), st.integers(1, 3))
def test_what_is_proven_is_neither_sampled_nor_attacked_away(seed, n_out):
    model = network(seed, n_out)
    x = torch.randn(4, 2, generator=Generator().manual_seed(seed))
    lower, upper = x - 2, x + 1
    found = box_guarantees(
        model, x, lower, upper, n_draws=100, n_restarts=2, n_halvings=5, seed=seed
    )
    assert (found.certified <= found.sampled).all()
    assert (found.certified <= found.attacked).all()
    assert (found.certified > 0).any()
    assert found.uncertified_because is None
    # One step above what was attacked in vain, a point was found.
    left = found.attacked < 1
    if not left.any():
        return
    above = found.attacked[left] + 2**-5
    attack = attack_box(
        model,
        x[left],
        *scaled_box(x[left], lower[left], upper[left], above),
        found.target[left],
        n_restarts=2,
        seed=seed,
    )
    assert attack.violated.all()


@settings(max_examples=5)
@given(st.integers(0, 1000), st.sampled_from([1, 3, 7]))
def test_rows_and_batch_sizes_do_not_matter(seed, batch_size):
    model = network(seed)
    x = torch.randn(3, 2, generator=Generator().manual_seed(seed))
    how = {"n_draws": 20, "n_restarts": 2, "n_steps": 3, "n_halvings": 3, "method": None}
    together = box_guarantees(model, x, x - 1, x + 1, **how)
    in_parts = box_guarantees(model, x, x - 1, x + 1, internal_batch_size=batch_size, **how)
    for row in range(3):
        some = x[row : row + 1]
        alone = box_guarantees(model, some, some - 1, some + 1, **how)
        for name in ("sampled", "attacked", "target"):
            assert getattr(together, name)[row] == getattr(in_parts, name)[row]
            assert getattr(together, name)[row] == getattr(alone, name)[0]


def test_the_sampled_mass_holds_where_the_violating_mass_is_known():
    # The class is lost where the first feature moves up by more than 1 - p of its box.
    x = torch.zeros(1, 1)
    found = box_guarantees(
        lambda points: torch.stack((0 * points[:, 0], points[:, 0] - 0.5), dim=1), x, x, x + 1,
        n_draws=200, confidence=0.99, n_halvings=10,
    )  # fmt: skip
    violating = max(0.0, 1 - 0.5 / found.sampled.item())
    assert 0 < violating <= found.sampled_mass == pytest.approx(math.log(11 / 0.01) / 200)
    assert found.attacked.item() == 0.5
    assert found.certified is None
    assert found.uncertified_because == "cannot be certified: a function has no layers to trace"


def test_a_model_without_a_gradient_is_sampled_alone():
    def forest(points):
        return torch.stack((points[:, 0] <= 0.5, points[:, 0] > 0.5), dim=1).float()

    x = torch.zeros(2, 1)
    found = box_guarantees(forest, x, x, x + 1)
    assert found.attacked is None
    assert found.certified is None
    assert (found.sampled >= 0.5).all()
    assert (found.sampled < 0.52).all()


def test_a_box_that_is_not_certified_says_why():
    model = nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2))
    x = torch.zeros(1, 2)
    assert "layer '1' (GELU)" in box_guarantees(model, x, x, x + 1).uncertified_because
    assert "not asked" in box_guarantees(model, x, x, x + 1, method=None).uncertified_because


@pytest.mark.parametrize("bad", [{"n_draws": 0}, {"confidence": 1.0}, {"n_halvings": 0}])
def test_misuse_is_named(bad):
    x = torch.zeros(1, 2)
    with pytest.raises(InvalidInputError, match=f"{next(iter(bad))} must be"):
        box_guarantees(network(0), x, x, x, **bad)
