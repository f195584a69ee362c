"""What an explainer promises as a piece of software: to be repeatable, and to leave no trace."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from torch import Tensor, nn

from xai_adapters.axioms.answers.attributions import answered, attributing
from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.drawing import any_case, case_of, network, rows_for
from xai_adapters.axioms.cases.networks import InParts, Network
from xai_adapters.axioms.finding import Finding
from xai_adapters.axioms.register import define
from xai_adapters.axioms.trial import Trial

_HABIT = "as Captum and scikit-learn do"


@st.composite
def _several_rows(draw: DrawFn, domain: Domain) -> Case:
    model = network(draw, domain)
    return Case(model, *rows_for(draw, model, n_rows=draw(st.integers(2, 4))))


@define(
    _several_rows,
    statement="A row gets the same attributions alone, in a batch, and in another order.",
    formula="a(X)_r = a(X_r)",
    source=_HABIT,
)
def batch_independence(trial: Trial) -> Finding:
    """Rows one by one against the batch, and against the batch the other way round."""
    attribute = attributing(trial.made(trial.model()))
    rows, targets = trial.rows, trial.targets
    alone = torch.cat(
        [
            answered(attribute(row.clone(), target), row)
            for row, target in zip(rows.split(1), targets.split(1), strict=True)
        ]
    )
    together = answered(attribute(rows.clone(), targets), rows)
    turned = answered(attribute(rows.flip(0), targets.flip(0)), rows).flip(0)
    first, second = trial.compare(alone, together), trial.compare(alone, turned)
    return max(first, second, key=lambda finding: finding.excess)


@define(
    any_case,
    statement="Made again and called again with the global generators in the same state, it gives "
    "the same attributions.",
    formula="a(x) = a(x)",
    source=_HABIT,
)
def determinism(trial: Trial) -> Finding:
    """Two explainers made alike."""
    answers = []
    for _ in range(2):
        _seed_all(1)
        answers.append(trial.attribute(trial.model()))
    return trial.compare(*answers)


@define(
    any_case,
    statement="Its attributions do not depend on the global random state: what it draws, it draws "
    "from a generator of its own.",
    formula="a(x) is the same after manual_seed(1) and after manual_seed(2)",
    source="scikit-learn's random_state, SPEC 7",
)
def seed_independence(trial: Trial) -> Finding:
    """Two explainers made alike, with other global seeds."""
    answers = []
    for seed in (1, 2):
        _seed_all(seed)
        answers.append(trial.attribute(trial.model()))
    return trial.compare(*answers)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - what foreign explainers draw from
    torch.default_generator.manual_seed(seed)


@st.composite
def _in_a_random_state(draw: DrawFn, domain: Domain) -> Case:
    return case_of(draw, domain).but(seed=draw(st.integers(10**6, 10**9)))


@define(
    _in_a_random_state,
    statement="The global random state is the same afterwards as before.",
    formula="state(torch, numpy, random) after = before",
    source=_HABIT,
    scale="nothing: any difference is one",
)
def random_state_kept(trial: Trial) -> Finding:
    """How many of the three global generators have moved."""
    # Not the state in which every trial begins, to which an explainer's own seed may lead.
    _seed_all(trial.details["seed"])
    before = _random_states()
    trial.attribute(trial.model())
    moved = [name for name, state in _random_states().items() if state != before[name]]
    return Finding(len(moved), 0, "no generator moved", f"{', '.join(moved) or 'none'} moved")


def _random_states() -> dict[str, Any]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (np.asarray(keys).tolist(), position),
        "random": random.getstate(),
    }


@st.composite
def _extreme(draw: DrawFn, domain: Domain) -> Case:
    """Saturated, constant and tiny models, and rows far out; also of a single feature."""
    tiny = draw(st.booleans())
    case = case_of(
        draw, domain, n_features=1 if tiny else None, n_hidden_layers=0 if tiny else None
    )
    factor = draw(st.sampled_from((1, 0, 1000)))
    weights = [[[factor * w for w in row] for row in layer] for layer in case.network.weights]
    model = case.network
    far = draw(st.sampled_from((1, 0, 1000)))
    rows = [[far * value for value in row] for row in case.rows]
    changed = Network(weights, model.biases, model.activation, model.style)
    return Case(changed, rows, case.targets)


@define(
    _extreme,
    statement="Attributions are finite, shaped like the rows, in their dtype, and free of "
    "autograd, also for saturated, constant and tiny models.",
    formula="a(x) in R^d, for every f and x",
    source=_HABIT,
    scale="nothing: any difference is one",
)
def well_formed(trial: Trial) -> Finding:
    """Everything that is wrong with an answer."""
    answer = attributing(trial.made(trial.model()))(trial.rows.clone(), trial.targets)
    values = answered(answer, trial.rows)
    wrong = []
    if not bool(values.isfinite().all()):
        wrong.append(f"{int((~values.isfinite()).sum())} of {values.numel()} are not finite")
    if isinstance(answer, Tensor):
        if answer.dtype != trial.rows.dtype:
            wrong.append(f"{answer.dtype} for rows of {trial.rows.dtype}")
        if answer.requires_grad:
            wrong.append("still attached to the graph")
    else:
        wrong.append(f"a {type(answer).__name__} for a tensor")
    return Finding(len(wrong), 0, "finite, float64 as the rows, detached", "; ".join(wrong))


@st.composite
def _in_a_mode(draw: DrawFn, domain: Domain) -> Case:
    return case_of(draw, domain).but(training=draw(st.booleans()))


@define(
    _in_a_mode,
    statement="Model, rows and grad mode are left as they were: mode, parameters, "
    "requires_grad, grad, hooks, attributes.",
    formula="state(f, x) after = before",
    source=_HABIT,
    scale="nothing: any difference is one",
)
def left_as_found(trial: Trial) -> Finding:
    """Everything that is different after an explanation."""
    return _traces(trial, failing=False)


@define(
    _in_a_mode,
    statement="Model, rows and grad mode are left as they were even if the model raises.",
    formula="f raises in its second call  =>  state(f, x) after = before",
    source=_HABIT,
    scale="nothing: any difference is one",
)
def left_as_found_after_error(trial: Trial) -> Finding:
    """Everything that is different after an explanation that was broken off."""
    return _traces(trial, failing=True)


class _Failing(nn.Module):
    """A model that raises when it is asked the last of so many times."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.answers_left = -1

    def forward(self, rows: Tensor) -> Tensor:
        """Outputs (n, K) of rows (n, d)."""
        if self.answers_left == 0:
            raise _PlannedError
        self.answers_left -= 1
        outputs: Tensor = self.model(rows)
        return outputs


class _PlannedError(RuntimeError):
    pass


def _traces(trial: Trial, *, failing: bool) -> Finding:
    model = _Failing(trial.model()) if failing else trial.model()
    rows, targets = trial.rows.clone(), trial.targets.clone()
    # Some parameters are frozen, and some have a gradient, as in the middle of a training.
    first, *_, last = model.parameters()
    first.grad = torch.ones_like(first)
    last.requires_grad_(False)
    made = trial.made(model)
    model.train(trial.details["training"])
    before = _state(model, rows, targets)
    if isinstance(model, _Failing):
        # In its first call, and if it gets over that, in its second.
        for answers in (0, 1):
            model.answers_left = answers
            with contextlib.suppress(_PlannedError):
                attributing(made)(rows, targets)
        model.answers_left = -1
    else:
        attributing(made)(rows, targets)
    after = _state(model, rows, targets)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    return Finding(
        len(changed), 0, "nothing changed", f"changed: {', '.join(changed)}" if changed else ""
    )


def _state(model: nn.Module, rows: Tensor, targets: Tensor) -> dict[str, Any]:
    """What an explainer could leave behind, by name."""
    state: dict[str, Any] = {
        "grad mode": torch.is_grad_enabled(),
        "rows": rows.tolist(),
        "rows.requires_grad": rows.requires_grad,
        "rows.grad": rows.grad is None,
        "targets": targets.tolist(),
    }
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        state[name] = tensor.tolist()
        state[f"{name}.requires_grad"] = tensor.requires_grad
        state[f"{name}.grad"] = None if tensor.grad is None else tensor.grad.tolist()
    for name, module in model.named_modules():
        where = name or "(model)"
        state[f"{where}.training"] = module.training
        for kept, values in vars(module).items():
            if kept.endswith("_hooks"):
                state[f"{where}.{kept}"] = len(values)
        state[f"{where}'s attributes"] = sorted(vars(module))
    return state


@st.composite
def _cut_in_two(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain, min_features=2)
    return case.but(cut=draw(st.integers(1, case.network.n_features - 1)))


@define(
    _cut_in_two,
    statement="A model that takes its features as two tensors gets the same attributions as one "
    "that takes them as one.",
    formula="a((u, v); f) = a(u v; f)",
    source="Captum's inputs",
)
def inputs_in_parts(trial: Trial) -> Finding:
    """The attributions of a tuple of inputs."""
    model, cut = trial.model(), trial.details["cut"]
    parts = trial.rows[:, :cut].clone(), trial.rows[:, cut:].clone()
    answer = attributing(trial.made(InParts(model).eval()))(parts, trial.targets)
    got = torch.cat([answered(part, rows) for part, rows in zip(answer, parts, strict=True)], dim=1)
    return trial.compare(trial.attribute(model), got)


@st.composite
def _for_a_target(draw: DrawFn, domain: Domain) -> Case:
    case = case_of(draw, domain)
    return Case(case.network, case.rows, [case.targets[0]] * len(case.rows))


@define(
    _for_a_target,
    statement="A target for all rows is given as a number, as a tensor without dimensions, or as "
    "one entry a row, with the same result.",
    formula="a(x; k) = a(x; tensor(k)) = a(x; (k, .., k))",
    source="Captum's target",
)
def target_forms(trial: Trial) -> Finding:
    """The attributions for one number, for a tensor of it, and for one a row."""
    attribute = attributing(trial.made(trial.model()))
    one = trial.targets[0]
    answers = []
    for target in (trial.targets, int(one), one):
        _seed_all(1)
        answers.append(answered(attribute(trial.rows.clone(), target), trial.rows))
    findings = [trial.compare(answers[0], other) for other in answers[1:]]
    return max(findings, key=lambda finding: finding.excess)
