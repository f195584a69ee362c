from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import rows_of, schemas
from torch import Generator
from torch.nn.functional import one_hot
from torch.optim.optimizer import register_optimizer_step_pre_hook

from xai_adapters.features.schema import Categorical, Continuous, FeatureSchema
from xai_adapters.features.standardization import standardization
from xai_adapters.fimap.descent import descend
from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.gumbel import OWN_CATEGORY, PartialGumbel
from xai_adapters.fimap.networks import Perturber, Surrogate
from xai_adapters.fimap.objective import Objective
from xai_adapters.fimap.pool import Pool, take_from_both
from xai_adapters.fimap.settings import FittingSettings
from xai_adapters.fimap.training import TwoStageFit

SEEDS = st.integers(0, 2**31)
CPU = torch.device("cpu")
TINY = {"surrogate_widths": (6,), "perturber_widths": (6,), "dropout": 0.0}
# The first column says which row it is, whatever else changes.
NUMBERED = FeatureSchema(
    [
        Continuous("number", 0, mutable=False),
        Continuous("income", 1),
        Continuous("age", 2, lower=0, upper=9, direction="up", integer=True),
        Categorical("job", ("clerk", "cook", "nurse"), (3, 4, 5), allowed=("clerk", "cook")),
        Categorical("town", ("x", "y"), (6,), one_hot=False),
        Categorical("sex", ("f", "m"), (7,), one_hot=False, mutable=False),
    ]
)


def numbered_rows(n_rows, seed=0):
    rows = rows_of(NUMBERED, n_rows, seed)
    rows[:, 0] = torch.arange(n_rows)
    return rows


def a_fit(schema, rows, labels, n_classes=2, validation=None, seed=0, **settings):
    """A fit that has not begun, of rows whose classes are known."""
    settings = FittingSettings(**{**TINY, **settings})
    generator = Generator().manual_seed(seed)
    mean, spread = standardization(schema.encode(rows)[:, : len(schema.continuous)], shared=False)
    drawn = (settings.dropout, generator, CPU)
    networks = FittedNetworks(
        schema,
        Surrogate(schema.n_encoded, n_classes, settings.surrogate_widths, *drawn),
        Perturber(schema.n_encoded, n_classes, settings.perturber_widths, *drawn),
        mean,
        spread,
        1 if settings.norm == "l1" else 2,
        None,
        "auto",
    )
    pool = Pool(networks.encoded(rows), one_hot(labels, n_classes).float())
    kept = Pool(pool.rows[:0], pool.answers[:0]) if validation is None else validation
    return TwoStageFit(networks, settings, pool, kept, generator)


def numbered_fit(n_rows=60, seed=0, **settings):
    rows = numbered_rows(n_rows)
    return a_fit(NUMBERED, rows, (rows[:, 1] > 0).long(), seed=seed, **settings)


def objective_of(fit):
    return Objective(fit.networks, fit.settings, fit.generator)


def labels_of(pool):
    return pool.answers.argmax(dim=1)


def weights_of(fit):
    networks = (fit.networks.surrogate, fit.networks.perturber)
    return torch.cat([p.detach().flatten() for network in networks for p in network.parameters()])


# The objective: equations 3 to 5, written plainly.


def plain_flip_loss(logits, target):
    return -math.log(math.exp(logits[target]) / sum(math.exp(logit) for logit in logits))


def plain_group(own, scores, choices, uniform, temperature):
    weights = [
        math.exp((score + OWN_CATEGORY * x - math.log(-math.log(u))) / temperature) if may else 0.0
        for x, score, may, u in zip(own, scores, choices, uniform, strict=True)
    ]
    return [float(weight == max(weights)) for weight in weights]


def plain_objective(fit, generator):
    """The loss of one batch of all rows, in the order and with the draws of the fit's own."""
    networks, settings, schema = fit.networks, fit.settings, fit.networks.schema
    rows, labels = fit.pool.rows, labels_of(fit.pool)
    n_classes, c = networks.perturber.n_classes, len(schema.continuous)
    order = torch.randperm(len(rows), generator=generator).tolist()
    shifts = torch.randint(1, n_classes, (len(rows),), generator=generator).tolist()
    uniform = torch.rand(len(rows), schema.n_encoded - c, generator=generator).double().tolist()
    lower, upper = schema.intervals(rows)
    choices = schema.choices(rows).tolist()
    mean, spread = networks.mean.tolist(), networks.spread.tolist()
    total = length = categories = flips = 0.0
    for at, shift, draws in zip(order, shifts, uniform, strict=True):
        target = (int(labels[at]) + shift) % n_classes
        x = networks.standardised(rows[at : at + 1])
        outputs = networks.perturber(x, torch.tensor([target]))[0].tolist()
        x = x[0].tolist()
        perturbed, squares, absolutes = [], 0.0, 0.0
        for i, feature in enumerate(schema.continuous):
            ends = (float(end[at, i] - mean[i]) / spread[i] for end in (lower, upper))
            perturbed.append(sorted((*ends, x[i] + outputs[i]))[1])
            squares += (feature.cost * (perturbed[i] - x[i])) ** 2
            absolutes += feature.cost * abs(perturbed[i] - x[i])
        cost = n_changed = 0.0
        start = c
        for feature in schema.categorical:
            here = slice(start, start + len(feature.categories))
            drawn = slice(here.start - c, here.stop - c)
            drawn_group = plain_group(x[here], outputs[here], choices[at][drawn], draws[drawn], 1.0)
            changed = 0.5 * sum(abs(a - b) for a, b in zip(x[here], drawn_group, strict=True))
            cost, n_changed = cost + feature.cost * changed, n_changed + changed
            perturbed += drawn_group
            start = here.stop
        if settings.max_categories is not None:
            cost += 10 * max(0.0, n_changed - settings.max_categories)
        logits = networks.surrogate(torch.tensor([perturbed]))[0].tolist()
        distance = absolutes if settings.norm == "l1" else math.sqrt(squares)
        total += plain_flip_loss(logits, target)
        total += settings.penalty * distance + settings.category_penalty * cost
        length, categories = length + distance, categories + cost
        flips += logits.index(max(logits)) == target
    return [value / len(rows) for value in (total, flips, length, categories)]


@given(
    schemas(),
    SEEDS,
    st.sampled_from([2, 3]),
    st.fixed_dictionaries(
        {
            "norm": st.sampled_from(["l1", "l2"]),
            "max_categories": st.sampled_from([None, 0, 1]),
            "penalty": st.sampled_from([0.0, 0.3, 2.0]),
            "category_penalty": st.sampled_from([0.0, 0.5]),
        }
    ),
)
def test_the_objective_is_that_of_equations_3_to_5(schema, seed, n_classes, settings):
    rows = rows_of(schema, 6, seed)
    labels = torch.arange(6) % n_classes
    fit = a_fit(schema, rows, labels, n_classes, seed=seed, epochs=1, batch_size=6, **settings)
    with torch.no_grad():
        # Outputs of a size that bounds and categories feel.
        fit.networks.perturber.layers[-1].weight *= 8
    generator = Generator()
    generator.set_state(fit.generator.get_state())
    with torch.no_grad():
        wanted = plain_objective(fit, generator)
    fit._perturber_stage(1)
    history = fit.history["perturber"]
    found = [history[name][0] for name in ("loss", "flips", "length", "categories")]
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
    # All draws are accounted for.
    assert torch.equal(generator.get_state(), fit.generator.get_state())


def test_a_batchs_target_is_never_the_own_class_and_every_other():
    rows = numbered_rows(600)
    labels = torch.arange(600) % 3
    fit = a_fit(NUMBERED, rows, labels, n_classes=3)
    target = objective_of(fit).another_class(labels)
    counts = torch.zeros(3, 3).index_put_((labels, target), torch.ones(600), accumulate=True)
    assert not counts.diagonal().any()
    assert (counts + torch.eye(3) * 100 > 60).all()


def test_noise_moves_numbers_and_leaves_groups_alone():
    fit = numbered_fit(2000, noise=0.5)
    rows = fit.networks.standardised(fit.pool.rows)
    noisy = objective_of(fit).with_noise(rows)
    assert torch.equal(noisy[:, 3:], rows[:, 3:])
    difference = (noisy - rows)[:, :3]
    assert difference.mean(dim=0).abs().max() < 5 * 0.5 / 2000**0.5
    assert (difference.std(dim=0) - 0.5).abs().max() < 0.05
    assert torch.equal(objective_of(numbered_fit(20)).with_noise(rows), rows)


# Rounds of questions.


class Recorder:
    """Answers by a rule, and remembers what was asked and where the perturber would have gone."""

    def __init__(self, fit, answers):
        self.fit, self.answers, self.questions, self.whole = fit, answers, [], []

    def __call__(self, asked):
        networks = self.fit.networks
        assert not networks.perturber.training
        self.questions.append(asked)
        if asked[0, 0] >= len(self.fit.pool):
            # Validation rows, which have numbers of their own.
            return self.answers(asked)
        own, original_class = self.before(asked), labels_of(self.fit.pool)[asked[:, 0].long()]
        self.whole.append(networks.perturbed(own, 1 - original_class))
        return self.answers(asked)

    def before(self, asked):
        return self.fit.pool.rows[asked[:, 0].long()]


def by_income(asked):
    return one_hot((asked[:, 1] > 0).long(), 2).float()


def asked_in_rounds(recorder):
    """The questions but the last ones, a fifth of the budget, which measure the validity."""
    budget = sum(map(len, recorder.questions))
    return recorder.questions[:-1] if budget >= 5 else recorder.questions


@given(st.integers(0, 40), st.integers(1, 5))
def test_the_budget_is_spent_exactly_and_evenly(budget, rounds):
    fit = numbered_fit(20, epochs=1, query_rounds=rounds)
    recorder = Recorder(fit, by_income)
    fit.run(recorder, budget)
    assert sum(map(len, recorder.questions)) == budget
    sizes = [len(asked) for asked in asked_in_rounds(recorder)]
    assert sum(sizes) == budget - budget // 5
    assert 0 not in sizes
    assert len(sizes) == min(rounds, budget - budget // 5)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert fit.history["rounds"].get("questions", []) == sizes
    assert len(fit.queried) == sum(sizes)
    assert (fit.validity is None) is (budget < 5)


def test_without_anybody_to_ask_only_the_two_stages_are_fitted():
    never, nothing = numbered_fit(20, epochs=2), numbered_fit(20, epochs=2)
    never.run(None, 100)
    nothing.run(by_income, 0)
    assert torch.equal(weights_of(never), weights_of(nothing))
    assert never.history == nothing.history
    assert never.history["rounds"] == {}
    assert len(never.history["surrogate"]["loss"]) == 2


@pytest.mark.parametrize("budget", [1, 24, 75])
def test_questions_lie_on_the_way_of_the_rows_and_inside_the_schema(budget):
    fit = numbered_fit(60, epochs=4, query_rounds=3, learning_rate=0.03, category_penalty=0.0)
    with torch.no_grad():
        # A perturber that is eager to change jobs.
        fit.networks.perturber.layers[-1].weight[3:] *= 30
    recorder = Recorder(fit, by_income)
    fit.run(recorder, budget)
    n_between = n_beyond = 0
    for asked, whole in zip(asked_in_rounds(recorder), recorder.whole, strict=False):
        own = recorder.before(asked)
        assert torch.equal(NUMBERED.settle(own, asked), asked)
        half = (len(asked) + 1) // 2
        torch.testing.assert_close(asked[:half], whole[:half])
        # Income is free, so what is asked lies where the step says.
        step = ((asked - own) / (whole - own))[half:, 1]
        assert (step >= -1e-4).all()
        assert (step <= 1.25 + 1e-4).all()
        n_between, n_beyond = n_between + int((step < 1).sum()), n_beyond + int((step > 1).sum())
        for group in (slice(3, 6), slice(6, 8), slice(8, 10)):
            as_before = (asked[:, group] == own[:, group]).all(dim=1)
            assert (as_before | (asked[:, group] == whole[:, group]).all(dim=1)).all()
    if budget == 75:
        assert n_between > 20
        assert n_beyond > 0
        everything = torch.cat(asked_in_rounds(recorder))
        jobs = (everything != recorder.before(everything))[:, 3:6].any(dim=1)
        assert 0 < jobs.sum() < len(everything)


def test_answers_are_kept_apart_from_the_rows_that_are_perturbed(monkeypatch):
    fit = numbered_fit(30, epochs=1)
    first, seen = fit.pool.rows.clone(), []
    perturb = Objective.perturbed

    def remembered(self, rows, *rest):
        seen.append(rows)
        return perturb(self, rows, *rest)

    monkeypatch.setattr(Objective, "perturbed", remembered)
    recorder = Recorder(fit, lambda asked: 1 - by_income(asked))
    fit.run(recorder, 40)
    asked = torch.cat(asked_in_rounds(recorder))
    assert torch.equal(fit.queried.rows, asked)
    assert torch.equal(fit.queried.answers, 1 - by_income(asked))
    assert torch.equal(fit.pool.rows, first)
    perturbed = torch.cat(seen)
    assert torch.equal(perturbed, first[perturbed[:, 0].long()])


def test_a_round_says_what_share_of_perturbed_rows_left_their_class():
    fit = numbered_fit(30, epochs=1, query_rounds=2)
    recorder = Recorder(fit, by_income)
    fit.run(recorder, 31)
    for asked, validity in zip(
        asked_in_rounds(recorder), fit.history["rounds"]["validity"], strict=True
    ):
        half = (len(asked) + 1) // 2
        left = by_income(asked).argmax(dim=1) != labels_of(fit.pool)[asked[:, 0].long()]
        assert validity == pytest.approx(left[:half].double().mean().item())


def test_a_class_never_seen_in_fit_is_dropped():
    fit = numbered_fit(40, epochs=1, query_rounds=1)
    recorder = Recorder(fit, lambda asked: one_hot((asked[:, 0] % 3).long(), 3).float())
    fit.run(recorder, 30)
    (asked,) = asked_in_rounds(recorder)
    known = asked[:, 0] % 3 < 2
    assert 0 < known.sum() < len(asked)
    assert torch.equal(fit.queried.rows, asked[known])
    assert torch.equal(labels_of(fit.queried), (asked[known, 0] % 3).long())
    assert fit.queried.answers.shape[1] == 2


@pytest.mark.parametrize(
    ("answers", "n_kept", "wanted"),
    [
        # A third class that is likelier than the two known ones, and one that is not.
        ([[0.1, 0.2, 0.7], [0.3, 0.5, 0.2]], 1, [[0.3, 0.5]]),
        ([[0.0, 1.0], [1.0, 0.0]], 2, [[0.0, 1.0], [1.0, 0.0]]),
        # A black box that has not met the second class yet.
        ([[1.0], [1.0]], 2, [[1.0, 0.0], [1.0, 0.0]]),
    ],
)
def test_answers_of_more_or_fewer_classes_fit_into_the_pool(answers, n_kept, wanted):
    pool = Pool(torch.zeros(1, 4), torch.eye(2)[:1])
    rows = torch.arange(8.0).view(2, 4)
    pool.add(rows, torch.tensor(answers))
    assert torch.equal(pool.rows[1:], rows[2 - n_kept :])
    torch.testing.assert_close(pool.answers[1:], torch.tensor(wanted))


def test_the_networks_of_the_best_round_are_kept():
    answers = iter([0.9, 0.2, 0.3])

    def ask(asked):
        # As many of the rows have left their class as is wanted, whatever they are.
        n_left = round(next(answers) * len(asked))
        return one_hot(torch.where(torch.arange(len(asked)) < n_left, 1, 0), 2).float()

    fit = numbered_fit(400, epochs=3, query_rounds=2)
    fit.pool.answers = torch.eye(2)[:1].expand_as(fit.pool.answers)
    kept = []
    remember = fit._weights
    fit._weights = lambda: kept.append(remember()) or kept[-1]
    fit.run(ask, 1000)
    # The first round's were the best: whole perturbed rows come first among its questions.
    best = torch.cat([weight.flatten() for network in kept[1] for weight in network.values()])
    assert torch.equal(weights_of(fit), best)
    assert fit.validity == fit.history["rounds"]["validity"][0] == 1


# Validation rows and early stopping.


def a_validation_pool(seed, n_rows=10):
    rows = NUMBERED.encode(numbered_rows(n_rows, seed))
    return Pool(rows, one_hot(rows[:, 1].gt(0).long(), 2).float())


def test_validation_rows_are_never_fitted_to_and_asked_about_only_to_measure():
    fits = []
    for seed in (1, 2):
        validation = a_validation_pool(seed)
        # Numbers that no other row has.
        validation.rows[:, 0] += 1000
        fit = numbered_fit(40, epochs=2, validation=validation)
        fits.append((fit, Recorder(fit, by_income)))
        fit.run(fits[-1][1], 20)
    (one, asked), (other, _) = fits
    assert torch.equal(weights_of(one), weights_of(other))
    assert torch.cat(asked_in_rounds(asked))[:, 0].max() < 40
    assert asked.questions[-1][:, 0].min() >= 1000
    assert one.pool.rows[:, 0].max() < 40
    for stage in ("surrogate", "perturber"):
        losses = [fit.history[stage]["validation_loss"] for fit in (one, other)]
        assert losses[0] != losses[1]


@given(st.integers(1, 30), st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9]), SEEDS)
def test_a_split_parts_the_rows(n_rows, fraction, seed):
    pool = a_validation_pool(seed, n_rows)
    first, second = pool.split(fraction, Generator().manual_seed(seed))
    assert len(second) == (max(1, round(fraction * n_rows)) if fraction else 0)
    assert len(first) + len(second) == n_rows
    parts = [block for part in (first, second) for block in part.blocks()]
    rows, answers = (torch.cat(halves) for halves in zip(*parts, strict=True))
    assert rows[:, 0].sort().values.tolist() == list(range(n_rows))
    assert torch.equal(answers, pool.answers[rows[:, 0].long()])
    # In place: what is split are the numbers.
    assert first.rows is second.rows is pool.rows


@given(st.integers(1, 8), st.integers(0, 8), SEEDS)
def test_what_is_known_are_the_rows_and_then_those_asked(n_rows, n_asked, seed):
    fit = numbered_fit(n_rows, seed=seed)
    rows = NUMBERED.encode(numbered_rows(n_asked, seed + 1))
    fit.queried.add(rows, by_income(rows))
    order = torch.randperm(n_rows + n_asked, generator=Generator().manual_seed(seed))
    found = take_from_both(fit.pool, fit.queried, order)
    wanted = torch.cat((fit.pool.rows, rows)), torch.cat((fit.pool.answers, by_income(rows)))
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other[order])


@pytest.mark.parametrize(
    ("losses", "n_epochs", "best"),
    [
        ([5, 4, 3, 4, 5, 1, 0], 5, 3),
        ([5, 4, 3, 2, 1, 0.5, 0.25], 7, 7),
        ([5, 6, 4, 4, 4, 1, 1], 5, 3),
        ([1, 1, 1, 1, 1, 1, 1], 3, 1),
        ([3, 4, 2, 3, 1, 2, 2.5], 7, 5),
    ],
)
def test_early_stopping_goes_back_to_the_best_weights(losses, n_epochs, best):
    fit = numbered_fit(
        validation=a_validation_pool(1), validation_fraction=0.1, patience=2, epochs=7
    )
    network, seen = fit.networks.surrogate, []

    def step(batch, moment):
        loss = sum(p.square().sum() for p in network.parameters())
        return loss, {}

    def validation_loss(rows, answers, moment):
        assert not network.training
        seen.append([p.clone() for p in network.parameters()])
        return torch.tensor(float(losses[len(seen) - 1]))

    history = descend(
        network,
        60,
        7,
        step,
        validation_loss,
        title="surrogate",
        settings=fit.settings,
        learning_rate=fit.settings.learning_rate,
        validation=fit.validation,
        generator=fit.generator,
    )
    assert len(seen) == n_epochs
    assert [epoch["validation_loss"] for epoch in history] == losses[:n_epochs]
    for found, wanted in zip(network.parameters(), seen[best - 1], strict=True):
        assert torch.equal(found, wanted)
    assert not torch.equal(seen[0][0], seen[1][0])


def test_without_patience_every_epoch_is_fitted():
    fit = numbered_fit(epochs=6, validation=a_validation_pool(1), learning_rate=0.5)
    fit.run(None, 0)
    assert len(fit.history["surrogate"]["validation_loss"]) == 6


# What is recorded, and the schedules.

MEASURES = {
    "surrogate": {"loss", "accuracy"},
    "perturber": {"loss", "flips", "length", "categories"},
    "rounds": {"questions", "validity"},
}


@settings(max_examples=12)
@given(st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_history_has_one_number_an_epoch_or_round(epochs, rounds, with_validation):
    validation = a_validation_pool(1) if with_validation else None
    fit = numbered_fit(40, epochs=epochs, query_rounds=rounds, validation=validation, batch_size=7)
    fit.run(by_income, 9)
    n_epochs = len(fit.history["surrogate"]["loss"])
    # A quarter of the epochs in the last round, and once more in the rounds before it.
    in_rounds = (rounds - 1) * math.ceil(epochs / (4 * rounds)) + math.ceil(epochs / 4)
    assert n_epochs == epochs + in_rounds
    for stage, measures in MEASURES.items():
        found = fit.history[stage]
        more = {"validation_loss"} if with_validation and stage != "rounds" else set()
        assert set(found) == measures | more
        for values in found.values():
            assert len(values) == (rounds if stage == "rounds" else n_epochs)
            assert all(type(value) is float and math.isfinite(value) for value in values)
    shares = fit.history["surrogate"]["accuracy"] + fit.history["perturber"]["flips"]
    assert all(0 <= share <= 1 + 1e-6 for share in shares)


def test_an_epochs_number_is_the_mean_over_its_rows():
    """Batches of different size count by their rows."""
    fit = numbered_fit(10, learning_rate=1e-12, batch_size=4)
    rows, labels = fit.networks.standardised(fit.pool.rows), labels_of(fit.pool)
    fit._surrogate_stage(1)
    logits = fit.networks.surrogate(rows)
    (loss,), (accuracy,) = fit.history["surrogate"].values()
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())


def test_the_step_size_falls_linearly_and_the_temperature_too(monkeypatch):
    sizes, temperatures = [], []
    sample = PartialGumbel.sample

    def remembered(self, proposal, choices, temperature, *rest):
        temperatures.append(temperature)
        return sample(self, proposal, choices, temperature, *rest)

    monkeypatch.setattr(PartialGumbel, "sample", remembered)
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: sizes.append(optimizer.param_groups[0]["lr"])
    )
    try:
        numbered_fit(25, epochs=3, batch_size=10, learning_rate=0.25).run(None, 0)
    finally:
        hook.remove()
    assert sizes == pytest.approx([0.25 * (1 - k / 9) for k in range(9)] * 2)
    assert temperatures == pytest.approx([t for t in (1.0, 0.65, 0.3) for _ in range(3)])


@pytest.mark.parametrize("soft_labels", [True, False])
def test_the_surrogate_learns_probabilities_or_classes(soft_labels):
    """Equation 2: the cross-entropy to what the black box said."""
    fit = numbered_fit(40, soft_labels=soft_labels, batch_size=40)
    fit.pool = replace(fit.pool, answers=0.25 + fit.pool.answers / 2)
    log_probabilities = fit.networks.surrogate(
        fit.networks.standardised(fit.pool.rows)
    ).log_softmax(1)
    own = log_probabilities.gather(1, labels_of(fit.pool)[:, None])
    soft = (fit.pool.answers * log_probabilities).sum(dim=1)
    wanted = -(soft if soft_labels else own).mean().item()
    fit._surrogate_stage(1)
    assert fit.history["surrogate"]["loss"][0] == pytest.approx(wanted, rel=1e-5)


def test_the_surrogate_is_frozen_while_the_perturber_is_fitted():
    fit = numbered_fit(30, epochs=2)
    fit._surrogate_stage(2)
    before = [p.clone() for p in fit.networks.surrogate.parameters()]
    fit._perturber_stage(2)
    after = list(fit.networks.surrogate.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
