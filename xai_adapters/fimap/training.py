"""Fitting FIMAP's networks: surrogate, then perturber, then rounds of asking the black box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import cross_entropy, pad, relu

from xai_adapters.fimap.fitted import FittedNetworks
from xai_adapters.fimap.settings import FittingSettings
from xai_adapters.utils.progress import progress

# Gumbel-softmax temperatures at the first and last epoch: from samples that all carry gradient to
# samples that are nearly one-hot (Jang et al. 2017 go from 1 to 0.5).
_TEMPERATURES = (1.0, 0.3)
# Rows asked about at the end, to say how many flip; and how far that share may be off by chance.
_N_MEASURED = 500
_CHANCE = 0.03
# Share of the learning rate that is left for the rounds: larger steps would leave behind what the
# questions were asked about.
_LATER_RATE = 0.3
# Added to the penalty when a perturber's fitting begins; gone when half of it is done.
_EARLY_PENALTY = 3.0
# What a category beyond `max_categories` costs, in units of one within.
_EXCESS_COST = 10.0
# How far beyond the perturbed row the black box is asked: where a longer step would lead.
_REACH = 1.25
# Rows worked on at once where all are looked at.
_BLOCK = 2048

History = dict[str, dict[str, list[float]]]


@dataclass
class Pool:
    """Rows that the black box has answered for; they are read in place, never copied.

    Args:
        rows: (n, d) rows.
        answers: (n, K) probabilities, or one-hot where only labels are known.
        encode: makes rows (b, d) encoded ones (b, e).
        members: (m,) numbers of the rows that belong here; None for all.
    """

    rows: Tensor
    answers: Tensor
    encode: Callable[[Tensor], Tensor] = lambda rows: rows
    members: Tensor | None = None

    def __len__(self) -> int:
        """Number of rows that belong here."""
        return len(self.rows if self.members is None else self.members)

    def take(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded rows (b, e) and their answers (b, K) by their numbers (b,) among the members."""
        if self.members is not None:
            numbers = self.members[numbers]
        return self.encode(self.rows[numbers]), self.answers[numbers]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All encoded rows and their answers, some thousands at a time."""
        for numbers in torch.arange(len(self), device=self.rows.device).split(_BLOCK):
            yield self.take(numbers)

    def add(self, rows: Tensor, answers: Tensor) -> None:
        """Add rows, except those whose class was not known when fitting began."""
        n_classes = self.answers.shape[1]
        known = answers.argmax(dim=1) < n_classes
        # A box that was told its classes may know fewer than the labels given to fit, or more.
        answers = pad(answers, (0, n_classes - answers.shape[1])).to(self.answers.dtype)
        self.rows = torch.cat((self.rows, rows[known]))
        self.answers = torch.cat((self.answers, answers[known]))

    def sample(self, n_rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """At most so many encoded rows, and the class of each."""
        order = torch.randperm(len(self), generator=generator, device=self.rows.device)
        rows, answers = self.take(order[:n_rows])
        return rows, answers.argmax(dim=1)

    def split(self, fraction: float, generator: Generator) -> tuple[Pool, Pool]:
        """Two pools, the second with about this share of the rows; all in the first for 0."""
        device = self.rows.device
        order, n_second = torch.arange(len(self), device=device), 0
        if fraction > 0:
            order = torch.randperm(len(self), generator=generator, device=device)
            n_second = max(1, round(fraction * len(self)))
        first, second = order.split((len(self) - n_second, n_second))
        return replace(self, members=first), replace(self, members=second)


@dataclass
class TwoStageFit:
    """Fits the networks in place; every stage goes on from where the last one left them.

    Args:
        networks: to be fitted.
        settings: how.
        pool: the rows to fit to, and to perturb, with the black box's answers.
        validation: rows kept apart to measure on; may be empty.
        generator: where random numbers come from.
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
        """Nothing is asked yet."""
        none = torch.arange(0, device=self._device)
        # Encoded already, and apart from the pool: they are learned from, but not perturbed.
        self.asked = Pool(*self.pool.take(none))
        self.validity: float | None = None
        self._temperature = _TEMPERATURES[0]
        self._progress = 0.0
        self._learning_rate = self.settings.learning_rate

    def run(self, ask: Callable[[Tensor], Tensor] | None, budget: int) -> None:
        """Both stages, and as many rounds of questions as the budget allows.

        Args:
            ask: gives the black box's answers (m, K) for encoded rows (m, e); None for never.
            budget: rows that may be asked about.
        """
        rounds = self.settings.query_rounds
        self._surrogate_stage(self.settings.epochs)
        self._perturber_stage(self.settings.epochs, _EARLY_PENALTY)
        if ask is None or budget == 0:
            return
        n_measured = min(_N_MEASURED, budget // 5)
        budget -= n_measured
        best, best_weights = -1.0, self._weights()
        # The rounds together take about half the epochs that the stages before them did, most of
        # them at the end, when the surrogate has learned all that it will.
        epochs, last = (-(-self.settings.epochs // share) for share in (4 * rounds, 4))
        self._learning_rate *= _LATER_RATE
        for number in range(rounds):
            is_last = number == rounds - 1
            self._ask_around(ask, budget // rounds + (number < budget % rounds))
            validity = self.history["rounds"].get("validity", [best])[-1]
            if validity >= best:
                best, best_weights = validity, self._weights()
            self._surrogate_stage(last if is_last else epochs)
            self._perturber_stage(last if is_last else epochs)
        if n_measured == 0:
            return
        self.validity = self._measure(ask, n_measured)
        if self.validity < best - _CHANCE:
            # What was learned last went astray, where nothing had been asked yet.
            self.validity = best
            for network, weights in zip(self._networks, best_weights, strict=True):
                network.load_state_dict(weights)

    def _measure(self, ask: Callable[[Tensor], Tensor], n_rows: int) -> float:
        """The share of measured rows that flip the black box once they are perturbed."""
        networks = self.networks
        before, original_class = self.measured.sample(n_rows, self.generator)
        with torch.no_grad():
            after = networks.perturbed(before, networks.nearest_other(before, original_class))
        return (ask(after).argmax(dim=1) != original_class).double().mean().item()

    @property
    def measured(self) -> Pool:
        """The rows to measure on: those for validation, or the fitted ones if there are none."""
        return self.validation if len(self.validation) else self.pool

    @property
    def _device(self) -> torch.device:
        return self.pool.rows.device

    @property
    def _networks(self) -> tuple[nn.Module, nn.Module]:
        return self.networks.surrogate, self.networks.perturber

    def _weights(self) -> list[dict[str, Tensor]]:
        return [_copied_weights(network) for network in self._networks]

    def _ask_around(self, ask: Callable[[Tensor], Tensor], n_questions: int) -> None:
        """Ask about perturbed rows, and about rows on the way to them and just beyond."""
        if n_questions == 0:
            return
        networks, generator, device = self.networks, self.generator, self._device
        chosen = torch.randint(len(self.pool), (n_questions,), generator=generator, device=device)
        before, answers = self.pool.take(chosen)
        original_class = answers.argmax(dim=1)
        networks.perturber.eval()
        with torch.no_grad():
            proposal = networks.proposal(before, self._another_class(original_class))
        n_whole = (n_questions + 1) // 2
        step = _REACH * torch.rand((n_questions, 1), generator=generator, device=device)
        step[:n_whole] = 1
        c = networks.layer.n_continuous
        moved = before[:, :c].lerp(proposal[:, :c], step.to(before.dtype))
        scores = proposal[:, c:]
        if networks.layer.group_sizes:
            # On the way there some categories have changed and others not yet.
            sizes = torch.tensor(networks.layer.group_sizes, device=device)
            draws = torch.rand((n_questions, len(sizes)), generator=generator, device=device)
            draws[:n_whole] = 1
            not_yet = (draws < 0.5).repeat_interleave(sizes, dim=1)
            scores = torch.where(not_yet, before[:, c:], scores)
        asked = networks.schema.settle(before, torch.cat((moved, scores), dim=1))
        answers = ask(asked)
        flipped = answers[:n_whole].argmax(dim=1) != original_class[:n_whole]
        self._record("rounds", questions=n_questions, validity=flipped.double().mean())
        self.asked.add(asked, answers)

    def _known(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded rows and answers by their numbers: those of the pool, then those asked since."""
        if not len(self.asked):
            return self.pool.take(numbers)
        n_own = len(self.pool)
        own = self.pool.take(numbers.clamp(max=n_own - 1))
        asked = self.asked.take((numbers - n_own).clamp(min=0))
        is_own = (numbers < n_own)[:, None]
        rows, answers = (torch.where(is_own, *pair) for pair in zip(own, asked, strict=True))
        return rows, answers

    def _surrogate_stage(self, n_epochs: int) -> None:
        """Equation 2: cross-entropy between surrogate and black box."""
        networks, noise = self.networks, self.settings.noise
        surrogate = networks.surrogate

        # Standardised batch by batch, here and below: a copy of all rows would double the memory.
        def step(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            rows, answers = self._known(batch)
            targets = self._targets(answers)
            outputs = surrogate(self._with_noise(networks.standardised(rows), noise))
            right = outputs.detach().argmax(dim=1) == answers.argmax(dim=1)
            return cross_entropy(outputs, targets), {"accuracy": right.float().mean()}

        def validation_loss(rows: Tensor, answers: Tensor) -> Tensor:
            return cross_entropy(surrogate(networks.standardised(rows)), self._targets(answers))

        n_rows = len(self.pool) + len(self.asked)
        surrogate.requires_grad_(True)
        self._descend("surrogate", surrogate, n_rows, n_epochs, step, validation_loss)
        surrogate.requires_grad_(False)

    def _perturber_stage(self, n_epochs: int, early_penalty: float = 0.0) -> None:
        """Equation 3: the loss of another class, drawn anew each time, plus what it costs.

        `early_penalty` is added to the penalty at first, so that changes begin small. Rows near
        the boundary then find their way across it first, and the others follow theirs. Left free
        at once, a whole class may be sent the same long way, which no later step mends.
        """
        networks, settings = self.networks, self.settings

        def early() -> float:
            return early_penalty * max(0.0, 1 - 2 * self._progress) ** 2

        def loss(
            encoded: Tensor, rows: Tensor, target: Tensor, temperature: float
        ) -> tuple[Tensor, dict[str, Tensor]]:
            perturbed = self._relaxed(encoded, rows, target, temperature)
            logits = networks.surrogate(self._with_noise(perturbed, settings.noise))
            length, categories = self._costs(rows, perturbed)
            flipped = (logits.detach().argmax(dim=1) == target).float().mean()
            total = cross_entropy(logits, target) + (
                (settings.penalty + early()) * length + settings.category_penalty * categories
            )
            return total, {"flips": flipped, "length": length, "categories": categories}

        def step(batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            encoded, answers = self.pool.take(batch)
            rows = networks.standardised(encoded)
            target = self._another_class(answers.argmax(dim=1))
            return loss(encoded, rows, target, self._temperature)

        def validation_loss(encoded: Tensor, answers: Tensor) -> Tensor:
            target = self._another_class(answers.argmax(dim=1))
            return loss(encoded, networks.standardised(encoded), target, _TEMPERATURES[1])[0]

        self._descend(
            "perturber", networks.perturber, len(self.pool), n_epochs, step, validation_loss
        )

    def _relaxed(self, encoded: Tensor, rows: Tensor, target: Tensor, temperature: float) -> Tensor:
        """Standardised rows (n, e) perturbed differentiably, within what the schema allows.

        Whole numbers are left for the results: a step of one is too coarse for a gradient.
        """
        networks, schema = self.networks, self.networks.schema
        layer = networks.layer
        proposal = layer.proposal(rows, networks.perturber(rows, target))
        if schema.is_free:
            return proposal
        lower, upper = (
            ((ends - networks.mean) / networks.spread).to(rows.dtype)
            for ends in schema.intervals(encoded)
        )
        c = layer.n_continuous
        proposal = torch.cat((proposal[:, :c].clamp(lower, upper), proposal[:, c:]), dim=1)
        return layer.sample(proposal, schema.choices(encoded), temperature, self.generator)

    def _costs(self, rows: Tensor, perturbed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean length of the continuous changes, and mean cost of the categories (equation 5)."""
        layer, (continuous, categorical) = self.networks.layer, self.networks.costs
        change = (perturbed - rows)[:, : layer.n_continuous] * continuous
        length = vector_norm(change, self.networks.norm, dim=1).mean()
        if not layer.group_sizes:
            return length, torch.zeros_like(length)
        cost = layer.changed(rows, perturbed) * categorical
        total = cost.sum(dim=1)
        if self.settings.max_categories is not None:
            n_changed = layer.changed(rows, perturbed).sum(dim=1)
            total = total + _EXCESS_COST * relu(n_changed - self.settings.max_categories)
        return length, total.mean()

    def _descend(
        self,
        stage: str,
        network: nn.Module,
        n_rows: int,
        n_epochs: int,
        step: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]],
        validation_loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Adam with a falling step size, and early stopping if it is asked for.

        Args:
            stage: its name, for the history.
            network: to be fitted.
            n_rows: rows it is fitted to.
            n_epochs: passes over them.
            step: gives the loss of the rows of these numbers, and what else to record of them.
            validation_loss: gives the mean loss of encoded rows with their answers.
        """
        network.train()
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, self._learning_rate, fused=True)
        size = self.settings.batch_size or min(max(n_rows // 50, 32), 160)
        n_steps = n_epochs * -(-n_rows // size)
        best, best_weights, n_worse = torch.inf, None, 0
        taken = 0
        for epoch in progress(range(n_epochs), f"fitting the {stage}", self.settings.show_progress):
            self._temperature = _between(*_TEMPERATURES, epoch, n_epochs)
            order = torch.randperm(n_rows, generator=self.generator, device=self._device)
            names: list[str] = []
            sums: Tensor | float = 0.0
            for batch in order.split(size):
                self._progress = taken / n_steps
                optimizer.param_groups[0]["lr"] = self._learning_rate * (1 - self._progress)
                loss, measures = step(batch)
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                optimizer.step()
                taken += 1
                names = ["loss", *measures]
                # By its rows, as the last batch may be a short one.
                sums = sums + torch.stack([loss, *measures.values()]).detach() * len(batch)
            assert isinstance(sums, Tensor)
            means = dict(zip(names, sums / n_rows, strict=True))
            if len(self.validation):
                network.eval()
                with torch.no_grad():
                    losses = [validation_loss(*b) * len(b[0]) for b in self.validation.blocks()]
                    means["validation_loss"] = torch.stack(losses).sum() / len(self.validation)
                network.train()
            self._record(stage, **means)
            if self.settings.patience is None:
                continue
            now = float(means["validation_loss"])
            if now < best:
                best, n_worse = now, 0
                best_weights = _copied_weights(network)
            else:
                n_worse += 1
                if n_worse == self.settings.patience:
                    break
        if best_weights is not None:
            network.load_state_dict(best_weights)
        network.eval()

    def _another_class(self, labels: Tensor) -> Tensor:
        n_classes = self.networks.perturber.n_classes
        shift = torch.randint(
            1, n_classes, labels.shape, generator=self.generator, device=labels.device
        )
        return (labels + shift) % n_classes

    def _with_noise(self, rows: Tensor, noise: float) -> Tensor:
        """Standardised rows with Gaussian noise on their continuous columns."""
        if noise == 0:
            return rows
        c = self.networks.layer.n_continuous
        draws = torch.randn((len(rows), c), generator=self.generator, device=rows.device)
        return torch.cat((rows[:, :c] + noise * draws, rows[:, c:]), dim=1)

    def _targets(self, answers: Tensor) -> Tensor:
        """What the surrogate learns: probabilities (n, K), or classes (n,)."""
        return answers.to(torch.float32) if self.settings.soft_labels else answers.argmax(dim=1)

    def _record(self, stage: str, **values: float | Tensor) -> None:
        for name, value in values.items():
            self.history[stage].setdefault(name, []).append(float(value))


def _copied_weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}


def _between(first: float, last: float, epoch: int, n_epochs: int) -> float:
    return first + (last - first) * epoch / max(n_epochs - 1, 1)
