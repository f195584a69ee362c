"""Maximal invariant perturbation: the largest box around a row in which its class stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from xai_adapters.core.expected_hinge import ExpectedHinge
from xai_adapters.core.feature_groups import FeatureGroups
from xai_adapters.core.model_state import left_as_found
from xai_adapters.core.outputs import OutputKind, check_output_kind
from xai_adapters.core.progress import progress
from xai_adapters.core.rows import require_finite
from xai_adapters.errors import InvalidInputError

OptimizerName = Literal["adam", "rmsprop", "sgd"]
_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


@dataclass(frozen=True)
class Box:
    """What `InvariantBox.solve` found for n rows.

    Attributes:
        width: (n, ...) half the box's side in each feature, w of Problem 2.1, in [0, C], shaped
            like the rows, float32 or wider. Wide means irrelevant to the decision.
        target: (n,) the class that is kept.
        n_steps: (n,) steps taken until the row stopped.
        converged: (n,) whether the row stopped because its objective no longer improved.
        objective: (n,) mean width minus the penalty, on fresh draws.
        violation_rate: (n,) share of fresh uniform draws from the box with another class. It is an
            estimate from `n_check_draws` draws, not a guarantee. 1 for a row whose target is not
            its class: no box around it keeps the target.
    """

    width: Tensor
    target: Tensor
    n_steps: Tensor
    converged: Tensor
    objective: Tensor
    violation_rate: Tensor

    def scores(self) -> Tensor:
        """Relevance (n, ...) of each feature: the row's largest width minus the feature's own.

        Ranks like the paper's -w, and is not negative, as consumers of attributions expect.
        """
        widest = self.width.flatten(1).amax(dim=1)
        return widest.view(-1, *(1,) * (self.width.ndim - 1)) - self.width


class InvariantBox:
    """Stochastic maximal invariant perturbation (Algorithm 1), for many rows at once.

    Maximises for each row, over widths w in [0, C],

        mean_i w_i - penalty * sum_{j != c} E_t max(0, f_j(x + t * w) - f_c(x + t * w))

    with t uniform in [-1, 1]^d and f the class probabilities (equation 3.2 over d). Summed over
    classes, the hinge lies in [0, 1] for any number of them, so a penalty means the same for all.
    The paper's lambda = 0.1 d is `penalty=0.1`; the authors' published code weighs the hinge's mean
    over K classes by 100, which is `penalty=100 / K` and the default: 0.1 for their 1,000 classes,
    where 10 gives boxes too small to tell pixels apart, and 10 for ten, where 0.1 gives boxes that
    half of their points leave.

    Rows are solved together but do not influence each other: they share one draw of t in each
    step, each has its own stopping, and the optimisers work element by element.

    Ikeno and Hara, "Maximizing Invariant Data Perturbation with Stochastic Optimization", 2018.

    Args:
        max_width: C, one number or a tensor that broadcasts against a row.
        penalty: weight of the summed hinge; by default 100 / K.
        optimizer: "adam", "rmsprop" or "sgd".
        step_size: of the optimiser, in the features' unit.
        n_steps: steps at most.
        n_draws: M, draws of t in a step.
        tolerance: a row stops when over `patience` steps its objective rose by less than this;
            0 lets all rows take all steps.
        patience: steps over which the objective is averaged to judge that.
        output: what the model returns: "probabilities", "logits", or "auto" to look at each row.
        threshold: for a model with one output, the value that separates its two classes.
        n_check_draws: fresh draws for `objective` and `violation_rate`.
        internal_batch_size: rows the model sees at once (each row counts `n_draws` times); it
            bounds memory and does not change the result.
        seed: of the draws.
        show_progress: show a bar on standard error.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)  # ignores feature 1
        >>> box = InvariantBox().solve(model, torch.tensor([[0.5, 0.5]]))
        >>> bool(box.width[0, 0] < 0.7), box.width[0, 1].item()
        (True, 1.0)
    """

    def __init__(
        self,
        *,
        max_width: float | Tensor = 1.0,
        penalty: float | None = None,
        optimizer: OptimizerName = "adam",
        step_size: float = 1e-2,
        n_steps: int = 500,
        n_draws: int = 32,
        tolerance: float = 1e-3,
        patience: int = 100,
        output: OutputKind = "auto",
        threshold: float | None = None,
        n_check_draws: int = 128,
        internal_batch_size: int | None = None,
        seed: int = 0,
        show_progress: bool = False,
    ) -> None:
        check_output_kind(output)
        if optimizer not in _OPTIMIZERS:
            raise InvalidInputError(
                f"optimizer must be one of {', '.join(get_args(OptimizerName))}; it is "
                f"{optimizer!r}"
            )
        for name, value, allowed in (
            ("max_width", max_width, bool((torch.as_tensor(max_width) > 0).all())),
            ("penalty", penalty, penalty is None or penalty >= 0),
            ("step_size", step_size, step_size > 0),
            ("n_steps", n_steps, n_steps >= 1),
            ("n_draws", n_draws, n_draws >= 1),
            ("tolerance", tolerance, tolerance >= 0),
            ("patience", patience, patience >= 1),
            ("n_check_draws", n_check_draws, n_check_draws >= 1),
            (
                "internal_batch_size",
                internal_batch_size,
                internal_batch_size is None or internal_batch_size >= 1,
            ),
        ):
            if not allowed:
                raise InvalidInputError(f"{name} cannot be {value!r}")
        self.max_width = max_width
        self.penalty = penalty
        self.optimizer = optimizer
        self.step_size = step_size
        self.n_steps = n_steps
        self.n_draws = n_draws
        self.tolerance = tolerance
        self.patience = patience
        self.output = output
        self.threshold = threshold
        self.n_check_draws = n_check_draws
        self.internal_batch_size = internal_batch_size
        self.seed = seed
        self.show_progress = show_progress

    def solve(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        target: Tensor | None = None,
        *,
        row_data: tuple[Tensor, ...] = (),
        tied: Tensor | None = None,
    ) -> Box:
        """Find the box of each row.

        Args:
            model: gives (m, K) class outputs, (m, 1) or (m,) numbers, for rows (m, ...), and is
                differentiable in them. A module is asked in eval mode and left as found.
            x: (n, ...) rows.
            target: (n,) the class to keep; by default the model's own class of each row. Around a
                row of another class no box keeps it: its widths are 0.
            row_data: tensors with one entry a row, handed to the model behind the rows, each
                entry beside its row's copies.
            tied: integers from 0 that broadcast against the rows; within a row, features with
                the same number get the same width.

        Returns:
            Widths with how they were reached, on the rows' device.

        Raises:
            InvalidInputError: for rows that are empty or not finite floats, or a bad target.
            PredictorError: if the model returns NaN or not one row of outputs for each row.
        """
        if not x.is_floating_point():
            raise InvalidInputError(f"rows must be floating point to be perturbed; got {x.dtype}")
        if x.numel() == 0:
            raise InvalidInputError(f"there are no rows to explain: the shape is {tuple(x.shape)}")
        if x.ndim < 2:
            raise InvalidInputError(
                f"rows must be a row of features for each example; their shape is {tuple(x.shape)}"
            )
        require_finite(x, "x")
        x = x.detach()
        groups = None if tied is None else FeatureGroups(tied, x)
        with left_as_found(model, x.device):
            hinge = ExpectedHinge(
                model,
                x,
                target,
                row_data=row_data,
                output=self.output,
                threshold=self.threshold,
                batch_size=self.internal_batch_size,
            )
            width, n_steps, converged = self._search(hinge, x, groups)
            # Draws of their own: how many the search took depends on the slowest row.
            draws = self._draw(self.n_check_draws, width, self._generator(1, x))
            every = torch.arange(len(x), device=x.device)
            excess, violation_rate = hinge.estimate(every, width, draws)
        return Box(
            width=width,
            target=hinge.target,
            n_steps=n_steps,
            converged=converged,
            objective=width.flatten(1).mean(dim=1) - self._weight(hinge) * excess,
            violation_rate=violation_rate,
        )

    def _search(
        self, hinge: ExpectedHinge, x: Tensor, groups: FeatureGroups | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Algorithm 1: widths, steps taken, and whether the row converged."""
        generator, penalty = self._generator(0, x), self._weight(hinge)
        # Widths move by a hundredth of the range a step: too little for 16-bit floats.
        width = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
        bound = self._bound(width, groups)
        n_steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        converged = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        # Around a row of another class every box violates the target: nothing to search.
        rows = hinge.centre_kept.nonzero()[:, 0]
        search = width[rows]
        optimizer = _OPTIMIZERS[self.optimizer]([search], lr=self.step_size)
        slope = torch.empty_like(search)
        gain, gain_before = search.new_zeros(len(rows)), search.new_full((len(rows),), -torch.inf)
        for step in progress(range(1, self.n_steps + 1), "invariant box", self.show_progress):
            if len(rows) == 0:
                break
            excess, _ = hinge.estimate(
                rows, search, self._draw(self.n_draws, width, generator), slope
            )
            gain += search.flatten(1).mean(dim=1) - penalty * excess
            # Equation 3.2, negated as optimisers minimise; its lambda is penalty * d.
            gradient = slope * (penalty * x[0].numel()) - 1
            search.grad = gradient if groups is None else groups.mean(gradient, rows)
            optimizer.step()
            search.clamp_(min=0)
            torch.minimum(search, bound[rows], out=search)
            n_steps[rows] += 1
            if self.tolerance > 0 and step % self.patience == 0:
                kept = gain - gain_before >= self.tolerance * self.patience
                if not kept.all():
                    width[rows] = search
                    converged[rows[~kept]] = True
                    rows, slope, search = rows[kept], slope[kept], _keep(optimizer, kept)
                gain, gain_before = torch.zeros_like(gain[kept]), gain[kept]
        width[rows] = search
        return width, n_steps, converged

    def _weight(self, hinge: ExpectedHinge) -> float:
        return 100 / hinge.n_classes if self.penalty is None else self.penalty

    def _generator(self, stream: int, x: Tensor) -> Generator:
        return Generator(x.device).manual_seed(2 * self.seed + stream)

    def _draw(self, n: int, width: Tensor, generator: Generator) -> Tensor:
        """Draws (n, ...) of t, uniform in [-1, 1]^d, for all rows."""
        return width.new_empty(n, *width.shape[1:]).uniform_(-1, 1, generator=generator)

    def _bound(self, width: Tensor, groups: FeatureGroups | None) -> Tensor:
        """C for every feature of every row."""
        bound = torch.as_tensor(self.max_width).to(width)
        try:
            bound = bound.expand(width.shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"max_width of shape {tuple(bound.shape)} does not fit rows of shape "
                f"{tuple(width.shape[1:])}"
            ) from error
        return bound if groups is None else groups.smallest(bound)


def _keep(optimizer: torch.optim.Optimizer, kept: Tensor) -> Tensor:
    """Drop rows from an optimiser's only parameter and from its state; return the parameter."""
    (group,) = optimizer.param_groups
    (old,) = group["params"]
    new: Tensor = old[kept]
    state = optimizer.state.pop(old, {})
    optimizer.state[new] = {
        name: value[kept] if isinstance(value, Tensor) and value.shape == old.shape else value
        for name, value in state.items()
    }
    group["params"] = [new]
    return new
