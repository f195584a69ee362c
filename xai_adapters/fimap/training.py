"""Fitting FIMAP's networks: surrogate, then perturber, then rounds of queries to the black box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from xai_adapters.features.schema import FeatureSchema
from xai_adapters.features.standardization import standardization
from xai_adapters.fimap.descent import Moment, copied_weights, descend
from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.networks import Perturber, Surrogate
from xai_adapters.fimap.objective import Measures, Objective
from xai_adapters.fimap.pool import Pool, take_from_both
from xai_adapters.fimap.settings import FittingSettings
from xai_adapters.model.black_box import BlackBox

# Gumbel-softmax temperatures at the first and last epoch: from samples that all carry gradient to
# samples that are nearly one-hot (Jang et al. 2017 go from 1 to 0.5).
_TEMPERATURES = (1.0, 0.3)
# Rows queried at the end to measure the validity, and how far that share may be off by chance.
_N_MEASURED = 500
_CHANCE = 0.03
# Share of the learning rate that is left for the rounds: larger steps would leave behind the
# region that was queried.
_LATER_RATE = 0.3
# Added to the penalty when a perturber's fitting begins; gone when half of it is done.
_EARLY_PENALTY = 3.0
# How far beyond the perturbed row the black box is queried: where a longer step would lead.
_REACH = 1.25

History = dict[str, dict[str, list[float]]]


def new_networks(
    settings: FittingSettings,
    schema: FeatureSchema,
    rows: Tensor,
    n_classes: int,
    black_box: BlackBox,
    generator: Generator,
) -> FittedNetworks:
    """Networks with random weights, for rows (n, d) that a black box has answered for."""
    columns = [feature.column for feature in schema.continuous]
    mean, spread = standardization(rows, settings.scale == "shared", columns)
    common = (settings.dropout, generator, rows.device)
    return FittedNetworks(
        schema,
        Surrogate(schema.n_encoded, n_classes, settings.surrogate_widths, *common),
        Perturber(schema.n_encoded, n_classes, settings.perturber_widths, *common),
        mean,
        spread,
        1 if settings.norm == "l1" else 2,
        None if black_box.classes is None else list(black_box.classes),
        black_box.resolved_output_type,
    )


@dataclass
class TwoStageFit:
    """Fits the networks in place; every stage goes on from where the last one left them.

    Args:
        networks: to be fitted.
        settings: how.
        pool: the rows to fit to, and to perturb, with the black box's answers.
        validation: rows kept apart to measure on; may be empty.
        generator: where random numbers come from.

    Attributes:
        history: by stage ("surrogate", "perturber", "rounds") and measure, one number an epoch or
            round.
        queried: encoded rows queried so far. The surrogate learns from them too, but they are not
            perturbed.
        validity: share of measured rows that flip the black box once they are perturbed; None if
            it was not measured.
    """

    networks: FittedNetworks
    settings: FittingSettings
    pool: Pool
    validation: Pool
    generator: Generator
    history: History = field(
        default_factory=lambda: {"surrogate": {}, "perturber": {}, "rounds": {}}
    )

    def __post_init__(self) -> None:
        """Begin without queries."""
        self.queried = Pool(*self.pool.take(torch.arange(0, device=self._device)))
        self.validity: float | None = None
        self._objective = Objective(self.networks, self.settings, self.generator)
        self._learning_rate = self.settings.learning_rate

    def run(self, query: Callable[[Tensor], Tensor] | None, budget: int) -> None:
        """Both stages, and as many rounds of queries as the budget allows.

        Args:
            query: gives the black box's answers (m, K) for encoded rows (m, e); None for never.
            budget: number of rows that may be queried.
        """
        rounds = self.settings.query_rounds
        self._surrogate_stage(self.settings.epochs)
        self._perturber_stage(self.settings.epochs, _EARLY_PENALTY)
        if query is None or budget == 0:
            return
        n_measured = min(_N_MEASURED, budget // 5)
        budget -= n_measured
        best, best_weights = -1.0, self._weights()
        # The rounds together take about half the epochs that the stages before them did, most of
        # them at the end, when the surrogate has all the answers it will get.
        epochs, last = (-(-self.settings.epochs // share) for share in (4 * rounds, 4))
        self._learning_rate *= _LATER_RATE
        for number in range(rounds):
            is_last = number == rounds - 1
            self._query_round(query, budget // rounds + (number < budget % rounds))
            validity = self.history["rounds"].get("validity", [best])[-1]
            if validity >= best:
                best, best_weights = validity, self._weights()
            self._surrogate_stage(last if is_last else epochs)
            self._perturber_stage(last if is_last else epochs)
        if n_measured == 0:
            return
        self.validity = self._measured_validity(query, n_measured)
        if self.validity < best - _CHANCE:
            # The last stages led astray, into a region that had not been queried.
            self.validity = best
            for network, weights in zip(self._networks, best_weights, strict=True):
                network.load_state_dict(weights)

    @property
    def measured(self) -> Pool:
        """The rows to measure on: those for validation, or the fitted ones if there are none."""
        return self.validation if len(self.validation) else self.pool

    def recovery_accuracy(self) -> float:
        """The share of measured rows on which the surrogate gives the black box's class."""
        n_right = sum(
            int((self.networks.surrogate_class(rows) == answers.argmax(dim=1)).sum())
            for rows, answers in self.measured.blocks()
        )
        return n_right / len(self.measured)

    @property
    def _device(self) -> torch.device:
        return self.pool.rows.device

    @property
    def _networks(self) -> tuple[nn.Module, nn.Module]:
        return self.networks.surrogate, self.networks.perturber

    def _weights(self) -> list[dict[str, Tensor]]:
        return [copied_weights(network) for network in self._networks]

    def _surrogate_stage(self, n_epochs: int) -> None:
        """Equation 2: cross-entropy between surrogate and black box."""
        objective, surrogate = self._objective, self.networks.surrogate

        # Rows are encoded and standardised batch by batch: a copy would double the memory.
        def step(batch: Tensor, _: Moment) -> tuple[Tensor, Measures]:
            return objective.surrogate_loss(*take_from_both(self.pool, self.queried, batch))

        def validation_loss(rows: Tensor, answers: Tensor, _: Moment) -> Tensor:
            return objective.surrogate_validation_loss(rows, answers)

        surrogate.requires_grad_(True)
        n_rows = len(self.pool) + len(self.queried)
        self._stage("surrogate", surrogate, n_rows, n_epochs, step, validation_loss)
        surrogate.requires_grad_(False)

    def _perturber_stage(self, n_epochs: int, early_penalty: float = 0.0) -> None:
        """Equation 3: the loss of another class plus what the change costs.

        `early_penalty` is added to the penalty at first, so that changes begin small. Rows near
        the boundary then find their way across it first, and the others follow theirs. Otherwise a
        whole class may be sent the same long way, which no later step corrects.
        """

        def early(moment: Moment) -> float:
            return early_penalty * max(0.0, 1 - 2 * moment.share) ** 2

        def step(batch: Tensor, moment: Moment) -> tuple[Tensor, Measures]:
            temperature = moment.between(*_TEMPERATURES)
            return self._objective.perturber_loss(
                *self.pool.take(batch), temperature, early(moment)
            )

        def validation_loss(rows: Tensor, answers: Tensor, moment: Moment) -> Tensor:
            return self._objective.perturber_loss(rows, answers, _TEMPERATURES[-1], early(moment))[
                0
            ]

        perturber, n_rows = self.networks.perturber, len(self.pool)
        self._stage("perturber", perturber, n_rows, n_epochs, step, validation_loss)

    def _stage(
        self,
        name: str,
        network: nn.Module,
        n_rows: int,
        n_epochs: int,
        step: Callable[[Tensor, Moment], tuple[Tensor, Measures]],
        validation_loss: Callable[[Tensor, Tensor, Moment], Tensor],
    ) -> None:
        epochs = descend(
            network,
            n_rows,
            n_epochs,
            step,
            validation_loss,
            title=f"fitting the {name}",
            settings=self.settings,
            learning_rate=self._learning_rate,
            validation=self.validation,
            generator=self.generator,
        )
        for measures in epochs:
            self._record(name, **measures)

    def _query_round(self, query: Callable[[Tensor], Tensor], n_queries: int) -> None:
        """Query perturbed rows, and points on the way to them and just beyond."""
        if n_queries == 0:
            return
        networks, generator, device = self.networks, self.generator, self._device
        chosen = torch.randint(len(self.pool), (n_queries,), generator=generator, device=device)
        before, answers = self.pool.take(chosen)
        original_class = answers.argmax(dim=1)
        networks.perturber.eval()
        with torch.no_grad():
            proposal = networks.proposal(before, self._objective.another_class(original_class))
        n_whole = (n_queries + 1) // 2
        step = _REACH * torch.rand((n_queries, 1), generator=generator, device=device)
        step[:n_whole] = 1
        c = networks.layer.n_continuous
        moved = before[:, :c].lerp(proposal[:, :c], step.to(before.dtype))
        scores = proposal[:, c:]
        if networks.layer.group_sizes:
            # On the way there some categories have changed and others not yet.
            sizes = torch.tensor(networks.layer.group_sizes, device=device)
            draws = torch.rand((n_queries, len(sizes)), generator=generator, device=device)
            draws[:n_whole] = 1
            not_yet = (draws < 0.5).repeat_interleave(sizes, dim=1)
            scores = torch.where(not_yet, before[:, c:], scores)
        points = networks.schema.settle(before, torch.cat((moved, scores), dim=1))
        answers = query(points)
        flipped = answers[:n_whole].argmax(dim=1) != original_class[:n_whole]
        self._record("rounds", questions=n_queries, validity=flipped.double().mean())
        self.queried.add(points, answers)

    def _measured_validity(self, query: Callable[[Tensor], Tensor], n_rows: int) -> float:
        """The share of measured rows that flip the black box once they are perturbed."""
        networks = self.networks
        before, original_class = self.measured.sample(n_rows, self.generator)
        with torch.no_grad():
            after = networks.perturbed(before, networks.nearest_other(before, original_class))
        return (query(after).argmax(dim=1) != original_class).double().mean().item()

    def _record(self, stage: str, **values: float | Tensor) -> None:
        for name, value in values.items():
            self.history[stage].setdefault(name, []).append(float(value))
