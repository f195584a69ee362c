"""Whether attributions look at the model and its data at all.

After Adebayo et al. 2018, "Sanity Checks for Saliency Maps". The networks here are larger than
those of the other axioms, and what is measured is a mean over several of them: a seed writes them
down.
"""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Generator, Tensor, nn

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import SEEDS
from xai_adapters.axioms.cases.networks import random_network
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial
from xai_adapters.utils.rank_correlation import rank_correlation

_N_FEATURES, _WIDTH, _N_OUTPUTS = 10, 12, 2
_N_MODELS, _N_ROWS = 5, 4
_N_TRAINING_ROWS, _N_TRAINING_STEPS, _STEP, _MOMENTUM = 96, 60, 0.1, 0.9
_LIKENESS = "nothing: a rank correlation has no unit"
_MOST_ALIKE, _MOST_ALIKE_AT_THE_TOP, _MOST_ALIKE_TRAINED = 0.5, 0.9, 0.7


@st.composite
def _seeded(draw: DrawFn, domain: Domain) -> Case:
    """The first of the networks; the others, and the rows, are drawn from the seeds behind it."""
    seed = draw(SEEDS)
    sizes = [_N_FEATURES, *[_WIDTH] * domain.max_hidden_layers, _N_OUTPUTS]
    model = random_network(sizes, seed, domain.activations[0], domain.styles[0])
    return Case(model, [], [], seed=seed)


def _signs(generator: Generator) -> tuple[Tensor, Tensor]:
    """Rows (n, d) of ones and minus ones, with targets.

    Features have equal magnitudes: products with the input are told apart by the model alone.
    """
    bits = torch.randint(0, 2, (_N_ROWS, _N_FEATURES), generator=generator)
    targets = torch.randint(0, _N_OUTPUTS, (_N_ROWS,), generator=generator)
    return (2 * bits - 1).to(torch.float64), targets


@define(
    _seeded,
    statement="With its layers randomised from the top, a model gets another map: with the last "
    "layer, a different one, with all of them, an unlike one.",
    formula="mean rank correlation of |a(x; f)| and |a(x; f randomised)| <= 0.9 with the last "
    "layer randomised, <= 0.5 with all",
    source="Adebayo et al. 2018: cascading randomisation",
    scale=_LIKENESS,
    atol=0.0,
    rtol=0.0,
    max_examples=1,
)
def model_randomization(trial: Trial) -> Finding:
    """By how much the rank correlation is above what is allowed, in the worse of two stages."""
    first, seed = trial.case.network, trial.details["seed"]
    sizes = [first.n_features, *(len(matrix) for matrix in first.weights)]
    rows, targets = _signs(Generator().manual_seed(seed))
    top: list[Tensor] = []
    everything: list[Tensor] = []
    for number in range(_N_MODELS):
        model, other = (
            random_network(sizes, seed + offset + number, first.activation, first.style)
            for offset in (0, 10_000)
        )
        last_alone = model.but_last_layer(other.weights[-1], other.biases[-1])
        original, *changed = (
            trial.attribute(trial.model(each), rows, targets).abs()
            for each in (model, last_alone, other)
        )
        for stage, other_map in zip((top, everything), changed, strict=True):
            stage.append(rank_correlation(original, other_map))
    alike = [float(torch.cat(stage).mean()) for stage in (top, everything)]
    allowed = [_MOST_ALIKE_AT_THE_TOP if len(sizes) > 2 else _MOST_ALIKE, _MOST_ALIKE]
    excess = max(like - most for like, most in zip(alike, allowed, strict=True))
    return Finding(
        max(excess, 0.0),
        trial.tolerance(1.0),
        f"rank correlations of at most {allowed}",
        [round(like, 3) for like in alike],
    )


@define(
    _seeded,
    statement="A model trained on shuffled labels gets another map than one trained on the true "
    "ones.",
    formula="mean rank correlation of |a(x; f)| and |a(x; f of shuffled labels)| <= 0.7",
    source="Adebayo et al. 2018: data randomisation",
    scale=_LIKENESS,
    atol=0.0,
    rtol=0.0,
    max_examples=1,
)
def label_randomization(trial: Trial) -> Finding:
    """By how much the rank correlation is above what is allowed."""
    generator = Generator().manual_seed(trial.details["seed"])
    rows, targets = _signs(generator)
    likeness = []
    for _ in range(_N_MODELS):
        X = torch.randn(_N_TRAINING_ROWS, _N_FEATURES, generator=generator, dtype=torch.float64)
        direction = torch.randn(_N_FEATURES, generator=generator, dtype=torch.float64)
        labels = (X @ direction > 0).long()
        shuffled = labels[torch.randperm(len(labels), generator=generator)]
        maps = [
            trial.attribute(_trained(trial.model(), X, given), rows, targets).abs()
            for given in (labels, shuffled)
        ]
        likeness.append(rank_correlation(*maps))
    mean = float(torch.cat(likeness).mean())
    return Finding(
        max(mean - _MOST_ALIKE_TRAINED, 0.0),
        trial.tolerance(1.0),
        f"a rank correlation of at most {_MOST_ALIKE_TRAINED}",
        round(mean, 3),
    )


def _trained(model: nn.Module, X: Tensor, labels: Tensor) -> nn.Module:
    parameters = list(model.parameters())
    speeds = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(_N_TRAINING_STEPS):
        loss = nn.functional.cross_entropy(model(X), labels)
        for parameter, speed, slope in zip(
            parameters, speeds, torch.autograd.grad(loss, parameters), strict=True
        ):
            speed.mul_(_MOMENTUM).sub_(_STEP * slope)
            parameter.data.add_(speed)
    return model
