from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from xai_adapters.box.chosen_points import ChosenPoints

N_ROWS, N_DRAWS, SHAPE = 3, 4, (2, 2)


@given(
    st.sets(st.integers(0, N_ROWS * N_DRAWS - 1), min_size=1),
    st.booleans(),
    st.lists(st.integers(0, 2), min_size=N_DRAWS, max_size=N_DRAWS),
    st.integers(0, 5),
)
def test_sums_over_some_points_are_those_over_all_with_zeros_for_the_others(
    at, takes_all, parts, seed
):
    at = sorted(range(N_ROWS * N_DRAWS) if takes_all else at)
    chosen = ChosenPoints(N_ROWS, N_DRAWS, None if takes_all else torch.tensor(at))
    generator = torch.Generator().manual_seed(seed)
    of_draws, of_points = (
        torch.rand(*size, *SHAPE, generator=generator).double()
        for size in ((N_DRAWS,), (N_ROWS, N_DRAWS))
    )
    values = chosen.of(of_draws) * chosen.of_each(of_points)
    of_rows = of_points[:, 0]
    assert torch.equal(chosen.of_rows(of_rows), of_rows[[number // N_DRAWS for number in at]])
    total = torch.ones(N_ROWS, 3, *SHAPE, dtype=torch.float64)
    chosen.add(values, torch.tensor(parts), total)
    sums = chosen.sums(values)
    wanted = {(row, part): 1.0 for row in range(N_ROWS) for part in range(3)}
    for number in at:
        row, draw = divmod(number, N_DRAWS)
        wanted[row, parts[draw]] = wanted[row, parts[draw]] + of_draws[draw] * of_points[row, draw]
    for (row, part), value in wanted.items():
        assert torch.allclose(total[row, part], torch.as_tensor(value).double().expand(SHAPE))
    assert torch.allclose(sums, total.sum(dim=1) - 3)
    zeros = torch.zeros(N_ROWS * N_DRAWS, *SHAPE, dtype=torch.float64)
    zeros[at] = values
    assert torch.equal(sums, ChosenPoints(N_ROWS, N_DRAWS).sums(zeros))
