"""Maximal invariant perturbation as a Captum attribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from captum.attr import GradientAttribution
from captum.log import log_usage
from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.box import BoxOptions, InvariantBox
from xai_adapters.box.shapes import ShapeName
from xai_adapters.captum.convention import Forward, Layout
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found
from xai_adapters.utils.options import named_options, shown

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])


class MaximalInvariantPerturbation(GradientAttribution):
    """Relevance of features by how little they may move before the class changes.

    The largest box is sought around each example in which the class stays the same. A feature's
    attribution is the largest width of that box minus the feature's own. It is never negative, 0
    for the least relevant feature, in the inputs' units, and does not add up to the output. The
    algorithm is `xai_adapters.InvariantBox`.

    Args:
        forward_func: a differentiable callable that returns one row of outputs per example. The
            last dimension is the classes; one number per example is a decision between below and
            above `threshold`.
        max_width: the bound C on the widths: one number, or a tensor (tuple) that broadcasts
            against one example of the inputs.
        shape: "symmetric", "asymmetric", "directed" or "masked"; see `InvariantBox`.
        bounds: the range of the inputs, which no box leaves: a lower and an upper value, each a
            number, or a tensor (tuple) that broadcasts against the inputs. (0, 1) for images.
        output_type: whether outputs are "probabilities" or "logits"; "auto" looks at their range.
        threshold: of a single output; by default 0.5 for probabilities and 0 for logits.
        **options: see `InvariantBox`.

    Raises:
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for an option of the wrong type or out of range.

    Example:
        >>> model = lambda x: torch.stack((x[:, 0], 0 * x[:, 0]), dim=1)  # ignores feature 1
        >>> mip = MaximalInvariantPerturbation(model)
        >>> scores = mip.attribute(torch.tensor([[0.5, 0.5]]), target=0)
        >>> bool(scores[0, 0] > 0.3), scores[0, 1].item()
        (True, 0.0)
        >>> to_black = MaximalInvariantPerturbation(model, shape="directed", bounds=(0, 1))
        >>> to_black.attribute(torch.tensor([[0.5, 0.5]]), target=0, baselines=0).argmax().item()
        0
    """

    @named_options(InvariantBox, only=BoxOptions.__annotations__)
    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        max_width: float | Tensor | tuple[Tensor, ...] = 1.0,
        shape: ShapeName = "symmetric",
        bounds: tuple[Any, Any] | None = None,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **options: Unpack[BoxOptions],
    ) -> None:
        super().__init__(forward_func)
        self.max_width = max_width
        self.bounds = bounds
        self._options: dict[str, Any] = {
            "shape": shape,
            "output_type": output_type,
            "threshold": threshold,
            **options,
        }
        # Wrong options are refused here, not in attribute.
        InvariantBox(max_width=1.0, bounds=bounds, **self._options)

    def __repr__(self) -> str:
        """The options that differ from their defaults."""
        return shown(self, {"max_width": self.max_width, "bounds": self.bounds, **self._options})

    @log_usage()
    @torch.no_grad()
    @named_options()
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
        *,
        baselines: Any = None,
    ) -> Inputs:
        """Attributions for the target class.

        Args:
            inputs: examples to explain.
            target: the class to keep; None for the predicted one. An example of another class has
                no box that keeps it, and all its attributions are 0.
            additional_forward_args: passed to `forward_func` after the inputs.
            feature_mask: integers from 0, for one example or for each; features with the same
                number move together. Numbers are shared across a tuple.
            internal_batch_size: examples in one call of `forward_func` (each counts `n_draws`
                times); it bounds memory and does not change the result.
            show_progress: show a bar on standard error.
            baselines: the end of directed and masked boxes: a number or a tensor, for one example
                or for each, or a tuple of these for a tuple of inputs. Other shapes take none.

        Returns:
            A tensor, or a tuple of tensors, shaped like the inputs and in their dtypes.

        Raises:
            AssertionError: Captum's own, for a target that the outputs do not have.
            InvalidInputError: for inputs that are empty, not finite or not floating point, and for
                baselines that are missing, not wanted, or of other shapes.
            PredictorError: if `forward_func` has no gradient, or does not return one row of outputs
                per example.

        Warns:
            BoxWarning: if a target is not its example's class, an example's largest outputs are
                equal, or `forward_func` returns NaN inside a box or has no finite gradient there.
        """
        layout, rows = Layout.of(inputs)
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        rows = layout.shaped(rows)

        def shaped(values: Any, name: str) -> Any:
            return None if values is None else layout.shaped(layout.flat_row_values(values, name))

        solver = InvariantBox(
            **self._options,
            max_width=layout.feature_values(self.max_width, "max_width"),
            bounds=None
            if self.bounds is None
            else (shaped(self.bounds[0], "bounds"), shaped(self.bounds[1], "bounds")),
            internal_batch_size=internal_batch_size,
            show_progress=show_progress,
        )
        with left_as_found(self.forward_func, rows.device):
            classes, position = forward.decisions(target)
            box = solver.solve(
                forward.outputs_at,
                rows,
                classes,
                row_data=(torch.arange(len(rows), device=rows.device), position),
                baseline=shaped(baselines, "baselines"),
                tied=shaped(feature_mask, "feature_mask"),
            )
        return cast(Inputs, layout.restore(box.scores()))

    def attribute_future(self) -> None:
        """Not implemented: each step of the search needs the gradient of the step before."""
        raise NotImplementedError("attribute_future is not implemented for this class")

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: attributions are widths, not shares of the inputs."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """The method's name, as the paper writes it."""
        return "Maximal Invariant Perturbation"
