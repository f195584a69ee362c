"""What attributions promise about neighbouring rows."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Generator, Tensor

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import SEEDS, case_of, network
from xai_adapters.axioms.cases.networks import Network
from xai_adapters.axioms.finding import Finding, rounded
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial

_STEP = 1e-3


@st.composite
def _with_a_free_direction(draw: DrawFn, domain: Domain) -> Case:
    """The last two features have equal weights: to move them apart changes no output."""
    case = case_of(draw, domain, min_features=2)
    weight = [[*row[:-1], row[-2]] for row in case.network.weights[0]]
    return case.but(network=case.network.but_first_layer(weight, case.network.biases[0]))


@define(
    _with_a_free_direction,
    statement="A small step that changes no output changes the attributions by little.",
    formula="f(z + e) = f(z) for all z  =>  |a(x + e) - a(x)| <= c L |e|, with L a Lipschitz bound "
    "of f, in sums of absolute values, and c the claim",
    source="Alvarez-Melis and Jaakkola 2018: local Lipschitz estimates; here with L of the model",
    scale="the Lipschitz bound times the step's length",
)
def stability(trial: Trial) -> Finding:
    """The change of the attributions over a step that moves two twins apart."""
    model = trial.model()
    step = torch.zeros_like(trial.rows)
    step[:, -2], step[:, -1] = _STEP, -_STEP
    before, after = trial.attribute(model), trial.attribute(model, trial.rows + step)
    change = (after - before).abs().sum(dim=1)
    lipschitz = torch.full_like(change, lipschitz_bound(trial.case.network) * 2 * _STEP)
    return trial.compare(torch.zeros_like(change), change, scale=lipschitz)


def lipschitz_bound(model: Network) -> float:
    """L with |f_k(x) - f_k(z)| <= L sum_i |x_i - z_i| for every output, of this or after a softmax.

    Example:
        >>> lipschitz_bound(Network([[[1, -2]], [[3]]], [[0], [0]]))
        6.0
    """
    # Slopes of the activations are at most 1.13, GELU's.
    bound = 1.0
    for number, matrix in enumerate(model.weights):
        rows = torch.tensor(matrix, dtype=torch.float64).abs()
        bound *= float(rows.max() if number == 0 else rows.sum(dim=1).max())
        bound *= 1.13 if number and model.activation in ("gelu", "silu") else 1.0
    return bound


@st.composite
def _to_be_manipulated(draw: DrawFn, domain: Domain) -> Case:
    model = network(draw, domain, n_features=4, n_hidden_layers=min(1, domain.max_hidden_layers))
    generator = Generator().manual_seed(seed := draw(SEEDS))
    rows = torch.randint(-3, 4, (2, 4), generator=generator)
    return Case(model, rows.tolist(), [0, 0], seed=seed)


_ROUNDS, _CANDIDATES, _RADIUS, _OUTPUT_SHARE = 6, 32, 0.5, 0.01


@define(
    _to_be_manipulated,
    statement="No input nearby with the same output has a map chosen at will: of the distance to "
    "another row's map, at most the claimed share can be closed.",
    formula="1 - min over z of |a(z) - a*| / |a(x) - a*|, with |z - x| <= 0.5 in each feature and "
    "|f(z) - f(x)| <= 0.01 |f(x)|",
    source="Dombrowski et al. 2019, by a random search in place of gradients",
    scale="the whole distance; the gap is the share that was closed",
    max_examples=20,
)
def manipulation(trial: Trial) -> Finding:
    """The share of the distance to a chosen map that a search for an input closes."""
    model = trial.model()
    own, wanted = trial.attribute(model)
    distance = float((own - wanted).norm())
    if distance < 1e-9:
        return Finding(0.0, trial.tolerance(1.0), "a share", 0.0)
    row, target = trial.rows[:1], trial.targets[:1]
    kept = trial.outputs(model, row, target)
    generator = Generator().manual_seed(trial.details["seed"])
    best, nearest = row, distance
    for round_number in range(_ROUNDS):
        spread = _RADIUS / 2**round_number
        candidates = _around(best, row, spread, generator)
        outputs = trial.outputs(model, candidates, target.expand(_CANDIDATES))
        same = (outputs - kept).abs() <= _OUTPUT_SHARE * kept.abs() + 1e-6
        if not same.any():
            continue
        chosen = candidates[same]
        maps = trial.attribute(model, chosen, target.expand(len(chosen)))
        distances = (maps - wanted).norm(dim=1)
        if float(distances.min()) < nearest:
            nearest = float(distances.min())
            best = chosen[distances.argmin()][None]
    share = 1 - nearest / distance
    return Finding(
        share,
        trial.tolerance(1.0),
        rounded(own),
        f"{share:.0%} at {rounded(best[0])}",
    )


def _around(centre: Tensor, row: Tensor, spread: float, generator: Generator) -> Tensor:
    noise = torch.randn(_CANDIDATES, row.shape[1], generator=generator, dtype=row.dtype)
    # One feature at a time in half of them: a model may not read some features at all.
    alone = torch.nn.functional.one_hot(torch.arange(_CANDIDATES) % row.shape[1], row.shape[1])
    noise[::2] *= alone[::2]
    return (centre + spread * noise).clamp(row - _RADIUS, row + _RADIUS)
