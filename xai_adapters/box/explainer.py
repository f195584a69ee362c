"""Maximal invariant perturbation: the largest box around a row in which its class stays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from xai_adapters.box.draws import DrawsName, box_draws, check_draws
from xai_adapters.box.hinge import ExpectedHinge, HingeOn, OverClasses, check_hinge
from xai_adapters.box.optimizer import (
    Optimizer,
    RowOptimizer,
    Schedule,
    check_optimizer,
)
from xai_adapters.box.samplers import box_sampler
from xai_adapters.box.shapes import BoxShape, Range, ShapeName, box_shape, check_shape
from xai_adapters.errors import BoxWarning, InvalidInputError
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.model.decision import Decision
from xai_adapters.model.faster_model import Compiled, check_faster, faster_model
from xai_adapters.model.outputs import OutputType, check_output_type
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.progress import progress
from xai_adapters.utils.rows import fastest_batch_size


@dataclass(frozen=True)
class Box:
    """What `InvariantBox.solve` found for n rows.

    Attributes:
        width: (n, ...) half the box's side in each feature, w of Problem 2.1, in [0, C], shaped
            like the rows, float32 or wider. Wide means irrelevant to the decision. Of an
            asymmetric box the mean of the widths down and up, of a directed one the share of the
            way to the baseline, of a masked one the probability of the baseline.
        lower: (n, ...) the box's lower end in each feature, within the data's range.
        upper: (n, ...) its upper end.
        target: (n,) the class that is kept.
        n_steps: (n,) steps taken until the row stopped.
        converged: (n,) whether the row stopped because its objective no longer improved.
        objective: (n,) mean width minus the penalty, on fresh draws.
        violation_rate: (n,) share of fresh uniform draws from the box with another class. It is an
            estimate from `n_check_draws` draws, not a guarantee. 1 for a row whose target is not
            its class: no box around it keeps the target.
        history: (n, n_steps) the objective in each step, on that step's draws; NaN after the row
            stopped.
    """

    width: Tensor
    lower: Tensor
    upper: Tensor
    target: Tensor
    n_steps: Tensor
    converged: Tensor
    objective: Tensor
    violation_rate: Tensor
    history: Tensor

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

    The defaults reach the objective of the authors' settings, `draws="uniform"`,
    `optimizer="adam"`, `step_size=0.01`, `schedule="constant"`, `n_steps=500`, `n_draws=32`,
    `tolerance=0`, in 120 steps: what limits the search is the noise of the few draws that leave
    the class, of which tilted draws have many times more.

    Beyond Algorithm 1, a box is called back where a step has led so far that all of its draws leave
    the class: probabilities are flat there, and it would grow for good. Masked boxes and those of
    graded, faded or adversarial draws are not.

    Rows are solved together but do not influence each other: they share one draw of numbers in
    each step, each has its own stopping, and the optimisers work element by element.

    Ikeno and Hara, "Maximizing Invariant Data Perturbation with Stochastic Optimization", 2018.

    Args:
        max_width: C, one number or a tensor that broadcasts against a row; for directed and masked
            boxes, whose widths are shares, at most 1.
        shape: "symmetric", [x - w, x + w]; "asymmetric", with widths of their own down and up
            (Hara et al. 2018); "directed", x + t * w * (baseline - x) with t in [0, 1]; "masked",
            each feature at x or, with probability w, at the baseline.
        bounds: the data's range, a lower and an upper value (numbers, or tensors that broadcast
            against the rows), beyond which no box reaches: (0, 1) for images.
        penalty: weight of the hinge; by default 100 / K.
        hinge_on: what f is, "probabilities" or "logits".
        over_classes: "sum" as above, "mean" over all K classes, or "max" for the worst one.
        draws: "uniform" t, as in the paper; "tilted", of which most lean towards where the class
            was lost and count the less for it: the objective is that of uniform draws with less
            noise, and slopes are smoothed in the first steps; "antithetic" pairs t and -t; "sobol"
            points; "corners" of the box; "graded" corners, from none to all of whose features are
            at their far ends; "faded", where from none to all features head for one level of the
            range `bounds`, in images for one colour, as behind a mask of whatever colour (symmetric
            boxes only); "adversarial" for the corners that hurt most, one for each of the likeliest
            other classes, each moved on in every step to where the sign of its gradient points: the
            worst case that Problem 2.1 asks for. With these use `hinge_on="logits"`.
        optimizer: "adam", "rmsprop" (with 0.97 in place of torch's 0.99), "sgd", or a class of
            `torch.optim` that works element by element.
        step_size: of the optimiser's first step, in the features' unit.
        schedule: how it falls: "constant", to 0 "linear" or as "cosine" or as the square root of
            the share of the steps to come, "sqrt"; or a function of the share of the steps taken
            that gives a factor.
        n_steps: steps at most.
        n_draws: M, draws of t in a step.
        tolerance: a row stops when over `patience` steps its objective rose by less than this;
            0 lets all rows take all steps.
        patience: steps over which the objective is averaged to judge that.
        output_type: what the model returns: "probabilities", "logits", or "auto" to look at each
            row.
        threshold: for a model with one output, the value that separates its two classes.
        n_check_draws: fresh draws for `objective` and `violation_rate`.
        internal_batch_size: points the model sees at once (each row counts `n_draws` times); it
            bounds memory and does not change the result. By default as many as a processor's
            caches hold, or on an accelerator all.
        autocast: a 16-bit float for the model's products, on accelerators; draws, widths and
            classes are compared in at least 32 bits all the same.
        channels_last: hand images over in that memory format.
        compiled: let `torch.compile` have the model; "reduce-overhead" for its mode that replays
            CUDA graphs.
        seed: of the draws.
        show_progress: show a bar on standard error.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)  # ignores feature 1
        >>> box = InvariantBox().solve(model, torch.tensor([[0.5, 0.5]]))
        >>> bool(box.width[0, 0] < 0.7), box.width[0, 1].item()
        (True, 1.0)
        >>> towards_0 = InvariantBox(shape="directed", bounds=(0, 1))
        >>> box = towards_0.solve(model, torch.tensor([[0.5, 0.5]]), baseline=0.0)
        >>> bool(box.lower[0, 0] >= 0), box.upper.tolist()
        (True, [[0.5, 0.5]])
    """

    def __init__(
        self,
        *,
        max_width: float | Tensor = 1.0,
        shape: ShapeName = "symmetric",
        bounds: Range | None = None,
        penalty: float | None = None,
        hinge_on: HingeOn = "probabilities",
        over_classes: OverClasses = "sum",
        draws: DrawsName = "tilted",
        optimizer: Optimizer = "rmsprop",
        step_size: float = 0.034,
        schedule: Schedule = "sqrt",
        n_steps: int = 120,
        n_draws: int = 24,
        tolerance: float = 1e-3,
        patience: int = 50,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        n_check_draws: int = 128,
        internal_batch_size: int | None = None,
        autocast: torch.dtype | None = None,
        channels_last: bool = False,
        compiled: Compiled = False,
        seed: int = 0,
        show_progress: bool = False,
    ) -> None:
        check_output_type(output_type)
        check_shape(shape)
        check_hinge(hinge_on, over_classes)
        check_draws(draws)
        check_optimizer(optimizer, schedule)
        check_faster(autocast, compiled)
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
        if shape in ("directed", "masked") and (torch.as_tensor(max_width) > 1).any():
            raise InvalidInputError(
                f"max_width cannot be {max_width!r} for the shape '{shape}', whose widths are "
                "shares of the way to the baseline"
            )
        if shape == "masked" and draws in ("corners", "graded", "adversarial"):
            raise InvalidInputError(
                f"a masked box has corners only; with draws={draws!r} all masks would be the same"
            )
        if draws == "faded" and (shape != "symmetric" or bounds is None):
            raise InvalidInputError(
                "faded draws head for levels of the data's range, in symmetric boxes: give bounds, "
                f"(0, 1) for images, and no other shape (it is {shape!r})"
            )
        self.max_width = max_width
        self.shape = shape
        self.bounds = bounds
        self.penalty = penalty
        self.hinge_on = hinge_on
        self.over_classes = over_classes
        self.draws = draws
        self.optimizer = optimizer
        self.step_size = step_size
        self.schedule = schedule
        self.n_steps = n_steps
        self.n_draws = n_draws
        self.tolerance = tolerance
        self.patience = patience
        self.output_type = output_type
        self.threshold = threshold
        self.n_check_draws = n_check_draws
        self.internal_batch_size = internal_batch_size
        self.autocast = autocast
        self.channels_last = channels_last
        self.compiled = compiled
        self.seed = seed
        self.show_progress = show_progress

    def solve(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        target: Tensor | None = None,
        *,
        baseline: float | Tensor | None = None,
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
            baseline: where a directed or masked box leads, a number or a tensor that broadcasts
                against the rows.
            row_data: tensors with one entry a row, handed to the model behind the rows, each
                entry beside its row's copies.
            tied: integers from 0 that broadcast against the rows; within a row, features with
                the same number get the same width.

        Returns:
            Widths with how they were reached, on the rows' device.

        Raises:
            InvalidInputError: for rows that are empty or not finite floats, or a target, baseline,
                bounds or `tied` that do not fit them.
            PredictorError: if the model returns NaN or not one row of outputs for each row.
            NotApplicableError: if the model cannot be `compiled`, or its device cannot do that.

        Warns:
            BoxWarning: if a target is not its row's class, a row's largest outputs are equal, or
                the model answers NaN inside a box or has a gradient there that is not finite.
        """
        x = x.detach()
        with left_as_found(model, x.device):
            decision = Decision(
                faster_model(
                    model,
                    x.device,
                    autocast=self.autocast,
                    channels_last=self.channels_last,
                    compiled=self.compiled,
                ),
                x,
                target,
                row_data=row_data,
                output_type=self.output_type,
                threshold=self.threshold,
                batch_size=self.internal_batch_size or fastest_batch_size(x),
            )
            groups = None if tied is None else FeatureGroups(tied, x)
            shape = box_shape(self.shape, x, self.bounds, baseline)
            hinge = ExpectedHinge(decision, on=self.hinge_on, over_classes=self.over_classes)
            search = self._search(hinge, shape, groups)
            # Draws of their own: how many the search took depends on the slowest row.
            fresh = box_draws("uniform", self.n_check_draws, shape.x, 2 * self.seed + 1)()
            every = torch.arange(len(x), device=x.device)
            boxes = shape.boxes(every, search.width)
            found = hinge.estimate(boxes, fresh)
        _warn_of(hinge)
        width = search.width.mean(dim=1)
        return Box(
            width=width,
            lower=boxes.lower,
            upper=boxes.upper,
            target=decision.target,
            n_steps=search.n_steps,
            converged=search.converged,
            objective=width.flatten(1).mean(dim=1) - self._weight(decision) * found.hinge,
            violation_rate=found.violation_rate,
            history=search.history,
        )

    def _search(
        self, hinge: ExpectedHinge, shape: BoxShape, groups: FeatureGroups | None
    ) -> _Search:
        """Algorithm 1."""
        penalty, x = self._weight(hinge.decision), shape.x
        found = _Search(x, shape.n_sides, self.n_steps)
        # Around a row of another class every box violates the target: nothing to search.
        rows = hinge.decision.kept.nonzero()[:, 0]
        largest = shape.boxes(rows, self._bound(x, groups)[rows, None])
        start = (shape.start * largest.width).expand(-1, *found.width.shape[1:])
        optimizer = RowOptimizer(self.optimizer, start, self.step_size, self.schedule)
        slope, none, less = torch.empty_like(start), x.new_zeros(()), x.new_tensor(-1.0)
        sampler = box_sampler(self.draws, hinge, largest, self.n_draws, 2 * self.seed)
        # Other draws look beside the row too or only at its worst, and masks have no way back.
        may_be_lost = (
            self.hinge_on == "probabilities"
            and self.shape != "masked"
            and self.draws not in ("graded", "faded", "adversarial")
        )
        gain, gain_before = x.new_zeros(len(rows)), x.new_full((len(rows),), -torch.inf)
        for step in progress(range(self.n_steps), "invariant box", self.show_progress):
            if len(rows) == 0:
                break
            width = optimizer.values
            done = step / self.n_steps
            seen = sampler.look(largest.resized(width), slope, done)
            objective = width.flatten(1).mean(dim=1).sub_(seen.hinge, alpha=penalty)
            found.history[rows, step] = objective
            gain += objective
            # Equation 3.2, negated as optimisers minimise; its lambda is penalty * d.
            gradient = torch.add(less, slope, alpha=penalty * width[0].numel(), out=slope)
            if may_be_lost:
                # Beyond the class probabilities are flat, and nothing else would call back a box
                # that all draws leave and that is worth less than none.
                lost = (seen.n_violations == seen.n_draws) & (objective < 0)
                lost &= gradient.flatten(1).mean(dim=1) < 0
                gradient = torch.where(lost.view(-1, *(1,) * x.ndim), gradient.abs(), gradient)
            if groups is not None:
                sides = [groups.mean(side, rows) for side in gradient.unbind(dim=1)]
                gradient = torch.stack(sides, dim=1)
            optimizer.step(gradient, done)
            width.clamp_(none, largest.width)
            if self.tolerance > 0 and (step + 1) % self.patience == 0:
                kept = gain - gain_before >= self.tolerance * self.patience
                if not kept.all():
                    found.width[rows] = width
                    found.converged[rows[~kept]] = True
                    found.n_steps[rows[~kept]] = step + 1
                    optimizer.keep(kept)
                    sampler.keep(kept)
                    rows, slope, largest = rows[kept], slope[kept], largest[kept]
                gain, gain_before = torch.zeros_like(gain[kept]), gain[kept]
        found.width[rows] = optimizer.values
        found.n_steps[rows] = self.n_steps
        return found

    def _weight(self, decision: Decision) -> float:
        return 100 / decision.n_classes if self.penalty is None else self.penalty

    def _bound(self, x: Tensor, groups: FeatureGroups | None) -> Tensor:
        """C for every feature of every row."""
        bound = torch.as_tensor(self.max_width).to(x)
        try:
            bound = bound.expand(x.shape)
        except RuntimeError as error:
            raise InvalidInputError(
                f"max_width of shape {tuple(bound.shape)} does not fit rows of shape "
                f"{tuple(x.shape[1:])}"
            ) from error
        return bound if groups is None else groups.smallest(bound)


class _Search:
    """What a search has found so far of n rows: zeros at first."""

    def __init__(self, x: Tensor, n_sides: int, n_steps: int) -> None:
        n = len(x)
        self.width = x.new_zeros(n, n_sides, *x.shape[1:])
        self.n_steps = torch.zeros(n, dtype=torch.int64, device=x.device)
        self.converged = torch.zeros(n, dtype=torch.bool, device=x.device)
        self.history = x.new_full((n, n_steps), torch.nan)


def _warn_of(hinge: ExpectedHinge) -> None:
    """Say of which rows the box is not what it should be, and why."""
    decision = hinge.decision
    for rows, reason in (
        (~decision.kept, "the target is not the class of {}: no box keeps it, widths are 0"),
        (
            decision.kept & decision.undecided,
            "the model is undecided at {}: another class has the same output, and next to any box "
            "it wins",
        ),
        (
            hinge.undefined,
            "the model answers NaN inside the box of {}, which counts as a violation",
        ),
        (
            hinge.unsloped & ~hinge.undefined,
            "the model's gradient is not finite inside the box of {}: such points count as "
            "violations, but nothing tells which widths to take them back by",
        ),
    ):
        numbers = rows.nonzero()[:, 0].tolist()
        if numbers:
            some = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
            named = f"{len(numbers)} of {len(rows)} rows ({some})"
            warnings.warn(reason.format(named), BoxWarning, stacklevel=3)
