"""How far a box can be relied on: its sampled, attacked and certified scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from xai_adapters.errors import NotApplicableError
from xai_adapters.guarantees.attack import attack_box
from xai_adapters.guarantees.certified_bounds import Certifier
from xai_adapters.guarantees.network_bounds import Method
from xai_adapters.guarantees.sampling_bound import largest_safe_scale, violating_mass
from xai_adapters.guarantees.scaled_box import check_box, scaled_box
from xai_adapters.model.decision import Decision
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import check_number, check_whole_number, named_options


@dataclass(frozen=True)
class BoxGuarantees:
    """How far n boxes hold: scales s of [x - s (x - lower), x + s (upper - x)], in three senses.

    Attributes:
        target: (n,) the class to keep.
        sampled: (n,) the largest scale tried at which no uniform draw had another class.
        sampled_mass: with probability `confidence`, at most this share of that box has another
            class. It does not say where: corners have next to no volume.
        confidence: of `sampled_mass`, for each row by itself.
        attacked: (n,) the largest scale tried at which projected gradients found no point with
            another class; None if the model has no gradient. Another attack may find one. Above
            this scale a point *was* found, so no larger box of this shape is invariant.
        certified: (n,) the largest scale tried at which provably no point has another class; None
            if there is no proof for such a network.
        uncertified_because: why `certified` is None.
    """

    target: Tensor
    sampled: Tensor
    sampled_mass: float
    confidence: float
    attacked: Tensor | None
    certified: Tensor | None
    uncertified_because: str | None


@named_options()
def box_guarantees(
    model: Callable[[Tensor], Tensor],
    x: Tensor,
    lower: Tensor,
    upper: Tensor,
    target: Tensor | int | None = None,
    *,
    n_draws: int = 500,
    confidence: float = 0.95,
    n_restarts: int = 10,
    n_steps: int = 20,
    method: Method | None = "crown",
    n_halvings: int = 7,
    output_type: OutputType = "auto",
    threshold: float | None = None,
    internal_batch_size: int | None = None,
    seed: int = 0,
) -> BoxGuarantees:
    """Find the largest scales at which boxes hold: sampled, attacked and certified.

    Each scale is found by halving. The certified scale is at most the other two, as neither samples
    nor attacks can refute a proof.

    Args:
        model: returns (m, K) class outputs, or (m, 1) or (m,) numbers, for (m, ...) rows.
        x: (n, ...) rows.
        lower: (n, ...) lower bounds of the boxes, in the dtype of `x`.
        upper: (n, ...) upper bounds.
        target: (n,) the class to keep, or one for all; by default the model's class at `x`.
        n_draws: uniform draws at each scale tried.
        confidence: with which `sampled_mass` holds.
        n_restarts: of `attack_box`.
        n_steps: of `attack_box`.
        method: of `Certifier`; None to skip the proof, the most expensive part for large networks.
        n_halvings: scales are found to 2^-n_halvings.
        output_type: what the model returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: for a model with one output, the value that separates its two classes.
        internal_batch_size: rows in one call of the model; it bounds memory and does not change the
            result.
        seed: of draws and starts.

    Raises:
        InvalidInputError: for boxes that do not contain their rows, or a bad target or option.
        PredictorError: if the model returns NaN at a row, or not one row of outputs for each row.

    Example:
        >>> network = torch.nn.Linear(2, 2)
        >>> network.weight.data, network.bias.data = torch.eye(2), torch.zeros(2)
        >>> x = torch.tensor([[2.0, 1.0]])  # the class is that of the larger number
        >>> found = box_guarantees(network, x, x - 1, x + 1)
        >>> found.certified.item(), found.attacked.item(), found.sampled.item()
        (0.4921875, 0.5, 0.5234375)
    """
    check_whole_number("n_draws", n_draws, at_least=1)
    check_number("confidence", confidence, above=0, below=1)
    check_whole_number("n_halvings", n_halvings, at_least=1)
    x = x.detach()
    check_box(x, lower, upper)
    n_rounds = n_halvings + 1
    with left_as_found(model, x.device):
        decision = Decision(
            model,
            x,
            target,
            output_type=output_type,
            threshold=threshold,
            batch_size=internal_batch_size,
        )

    @torch.no_grad()
    def sample_violates(rows: Tensor, scale: Tensor, number: int) -> Tensor:
        low, high = scaled_box(x[rows], lower[rows], upper[rows], scale)
        # Draws of their own for each round, the same for all rows.
        generator = Generator(x.device).manual_seed(n_rounds * seed + number)
        seen = torch.zeros(len(rows), dtype=torch.bool, device=x.device)
        batch_size = internal_batch_size or 1024
        places = torch.arange(len(rows), device=x.device).split(batch_size)
        at_once = max(1, batch_size // len(rows))
        for done in range(0, n_draws, at_once):
            # One by one, so that they do not depend on the batch size.
            draws = [
                torch.empty_like(x[0]).uniform_(generator=generator)
                for _ in range(min(at_once, n_draws - done))
            ]
            t = torch.stack(draws)
            for some in places:
                ends = low[some, None], high[some, None]
                points = torch.minimum(
                    torch.maximum(ends[0] + t * (ends[1] - ends[0]), ends[0]), ends[1]
                )
                owner = rows[some].repeat_interleave(len(t))
                kept = decision.has_target_at(points.flatten(0, 1), owner)
                seen[some] |= ~kept.view(len(some), len(t)).all(dim=1)
        return seen

    def attack_violates(rows: Tensor, scale: Tensor, _: int) -> Tensor:
        return attack_box(
            model,
            x[rows],
            *scaled_box(x[rows], lower[rows], upper[rows], scale),
            decision.target[rows],
            n_restarts=n_restarts,
            n_steps=n_steps,
            output_type=output_type,
            threshold=threshold,
            internal_batch_size=internal_batch_size,
            seed=seed,
        ).violated

    certified, reason = None, "it was not asked for"
    if method is not None:
        try:
            certifier = Certifier(
                model,
                x,
                decision.target,
                method=method,
                output_type=output_type,
                threshold=threshold,
                internal_batch_size=internal_batch_size or 256,
            )
            certified = certifier.scale(lower, upper, n_halvings=n_halvings)
        except NotApplicableError as error:
            reason = str(error)
    with left_as_found(model, x.device):
        sampled = largest_safe_scale(sample_violates, len(x), n_rounds, x.device)
        with torch.enable_grad():
            probe = decision.scores(
                x[:1].clone().requires_grad_(), torch.zeros_like(decision.target[:1])
            )
    attacked = None
    if probe.requires_grad:
        attacked = largest_safe_scale(attack_violates, len(x), n_rounds, x.device)
    return BoxGuarantees(
        target=decision.target,
        sampled=sampled,
        sampled_mass=violating_mass(n_draws, n_rounds, confidence),
        confidence=confidence,
        attacked=attacked,
        certified=certified,
        uncertified_because=reason if certified is None else None,
    )
