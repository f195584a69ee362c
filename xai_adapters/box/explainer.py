"""Maximal invariant perturbation: the largest box around a row in which its class stays."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.box.expected_hinge import Samples, estimate
from xai_adapters.box.hinge import Hinge
from xai_adapters.box.result import Box
from xai_adapters.box.samplers.random_numbers import uniform_numbers
from xai_adapters.box.search import search
from xai_adapters.box.settings import BoxSettings, InvariantBoxOptions
from xai_adapters.box.shapes import empty_boxes, width_of_each
from xai_adapters.errors import BoxWarning
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.model.decision import Decision
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import named_options, shown
from xai_adapters.utils.rows import fastest_batch_size


class InvariantBox:
    """Stochastic maximal invariant perturbation (Algorithm 1), for many rows at once.

    Maximises for each row, over widths w in [0, C],

        mean_i w_i - penalty * sum_{j != c} E_t max(0, f_j(x + t * w) - f_c(x + t * w))

    with t uniform in [-1, 1]^d and f the class probabilities (equation 3.2 divided by d). Summed
    over classes, the hinge lies in [0, 1] for any number of them, so a penalty means the same for
    all. The paper's lambda = 0.1 d is `penalty=0.1`. The authors' published code multiplies the
    hinge's mean over K classes by 100, which is `penalty=100 / K` and the default: 0.1 for their
    1,000 classes, where 10 gives boxes too small to tell pixels apart, and 10 for ten, where 0.1
    gives boxes that half of their points leave.

    The defaults reach the objective of the authors' settings, `sampling="uniform"`,
    `optimizer="adam"`, `step_size=0.01`, `schedule="constant"`, `n_steps=500`, `n_draws=32`,
    `tolerance=0`, in 120 steps: what limits the search is the noise of the few draws that leave
    the class, of which importance sampling has many times more.

    Beyond Algorithm 1, a box is shrunk if a step was so long that all of its samples leave the
    class: probabilities are flat there, and it would grow for good. This needs samples from all of
    the box, that is uniform or importance sampling, and is not done for masked boxes.

    Rows are solved together but do not influence each other: they share one draw of numbers in
    each step, each stops on its own, and the optimisers work element by element.

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
        sampling: where boxes are sampled in each step. "uniform", as in the paper; "importance"
            sampling of the points that leave the class, whose objective is the same with less
            noise; "masked_fraction", corners with from none to all of the features at their far
            ends; "fade_to_colour", where from none to all features move towards one level of the
            range `bounds`, in images towards one colour, as behind a mask of any colour (symmetric
            boxes only); "adversarial", corners that move in every step to where the sign of their
            gradient points, in turn for each of the likeliest other classes: the worst case that
            Problem 2.1 asks for. Use `hinge_on="logits"` with these.
        optimizer: "adam", "rmsprop" (with 0.97 in place of torch's 0.99), "sgd", or a class of
            `torch.optim` that works element by element.
        step_size: of the optimiser's first step, in the features' unit.
        schedule: how it falls: "constant", to 0 "linear" or as "cosine" or as the square root of
            the share of the steps to come, "sqrt"; or a function of the share of the steps taken
            that gives a factor.
        n_steps: steps at most.
        n_draws: M, samples of each box in a step.
        tolerance: a row stops when over `patience` steps its objective rose by less than this;
            0 lets all rows take all steps.
        patience: steps over which the objective is averaged to judge that.
        output_type: what the model returns: "probabilities", "logits", or "auto" to decide for
            each row by its outputs.
        threshold: for a model with one output, the value that separates its two classes.
        n_check_draws: fresh draws for `objective` and `violation_rate`.
        internal_batch_size: points the model sees at once (each row counts `n_draws` times); it
            bounds memory and does not change the result. By default as many as a processor's
            caches hold, or on an accelerator all.
        seed: of the random numbers.
        show_progress: show a bar on standard error.

    Attributes:
        settings: all of these options.

    Raises:
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for an option of the wrong type or out of range.

    Example:
        >>> import torch
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)  # ignores feature 1
        >>> box = InvariantBox().solve(model, torch.tensor([[0.5, 0.5]]))
        >>> bool(box.width[0, 0] < 0.7), box.width[0, 1].item()
        (True, 1.0)
        >>> to_0 = InvariantBox(shape="directed", bounds=(0, 1))
        >>> box = to_0.solve(model, torch.tensor([[0.5, 0.5]]), baseline=0.0)
        >>> bool(box.lower[0, 0] >= 0), box.upper.tolist()
        (True, [[0.5, 0.5]])
    """

    @named_options(BoxSettings)
    def __init__(self, **options: Unpack[InvariantBoxOptions]) -> None:
        self.settings = BoxSettings(**options)

    def __repr__(self) -> str:
        """The call that makes a solver like this one, without defaults."""
        return shown(self, vars(self.settings))

    @named_options(BoxSettings)
    def replace(self, **options: Unpack[InvariantBoxOptions]) -> InvariantBox:
        """A solver with other values of some options; this one stays as it is.

        Args:
            **options: as those of the constructor.

        Raises:
            UnknownOptionError: for an option that does not exist; the message suggests the nearest.
            InvalidInputError: for an option of the wrong type or out of range.

        Example:
            >>> InvariantBox(penalty=3.0).replace(max_width=2.0)
            InvariantBox(max_width=2.0, penalty=3.0)
        """
        return type(self)(**{**vars(self.settings), **options})

    @named_options()
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
                differentiable in them. A module runs in eval mode and is left as found.
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
            The boxes, on the rows' device.

        Raises:
            InvalidInputError: for rows that are empty or not finite floats, or a target, baseline,
                bounds or `tied` that do not fit them.
            PredictorError: if the model returns NaN or not one row of outputs for each row.

        Warns:
            BoxWarning: if a target is not its row's class, a row's largest outputs are equal, or
                the model returns NaN inside a box or has a gradient there that is not finite.
        """
        settings, x = self.settings, x.detach()
        with left_as_found(model, x.device):
            decision = Decision(
                model,
                x,
                target,
                row_data=row_data,
                output_type=settings.output_type,
                threshold=settings.threshold,
                batch_size=settings.internal_batch_size or fastest_batch_size(x),
            )
            penalty = 100 / decision.n_classes if settings.penalty is None else settings.penalty
            groups = None if tied is None else FeatureGroups(tied, x)
            hinge = Hinge(decision, settings.hinge_on)
            empty = empty_boxes(settings.shape, x, settings.bounds, baseline)
            max_width = width_of_each(settings.max_width, empty.x)
            if groups is not None:
                max_width = groups.smallest(max_width)
            found = search(hinge, empty, max_width, penalty, settings, groups)
            # Numbers of their own: how many the search took depends on the slowest row.
            uniform = uniform_numbers(empty.x, 2 * settings.seed + 1)
            boxes = empty.replace(width=found.width)
            samples = Samples(boxes, uniform(settings.n_check_draws, *x.shape[1:]))
            seen = estimate(hinge, samples, derivative=False)
        undefined = found.undefined if seen.undefined is None else found.undefined | seen.undefined
        _warn(decision, undefined, found.no_gradient)
        width = found.width.mean(dim=1)
        return Box(
            width=width,
            lower=boxes.lower,
            upper=boxes.upper,
            target=decision.target,
            n_steps=found.n_steps,
            converged=found.converged,
            objective=width.flatten(1).mean(dim=1) - penalty * seen.hinge,
            violation_rate=seen.violation_rate,
            history=found.history,
        )


def _warn(decision: Decision, undefined: Tensor, no_gradient: Tensor) -> None:
    """Say of which rows the box is not what it should be, and why."""
    for rows, reason in (
        (~decision.has_target, "the target is not the class of {}: no box keeps it, widths are 0"),
        (
            decision.has_target & decision.undecided,
            "the model is undecided at {}: another class has the same output, and next to any box "
            "it wins",
        ),
        (undefined, "the model returns NaN inside the box of {}, which counts as a violation"),
        (
            no_gradient & ~undefined,
            "the model's gradient is not finite inside the box of {}: such points count as "
            "violations, but do not show which widths to reduce",
        ),
    ):
        numbers = rows.nonzero()[:, 0].tolist()
        if numbers:
            some = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
            named = f"{len(numbers)} of {len(rows)} rows ({some})"
            warnings.warn(reason.format(named), BoxWarning, stacklevel=4)
