"""FIMAP and maximal invariant perturbation as Captum attributions.

Importing this module imports Captum. Where Captum's classes take a `target`, so do these: None, an
int, a tuple, a one-element tensor, or one of these for each row, meaning `output[:, *target]`.
Inputs are a tensor or a tuple of tensors with one row an example in dimension 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from xai_adapters.box.explainer import InvariantBox
from xai_adapters.errors import InvalidInputError, NotFittedError, require
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.fimap import Certainty, MinimalPerturbation
from xai_adapters.fimap.attributions import targeted_attributions
from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.outputs import OutputType
from xai_adapters.model.state import left_as_found

require("captum", "captum")

from captum.attr import GradientAttribution, PerturbationAttribution  # noqa: E402
from captum.log import log_usage  # noqa: E402

from xai_adapters.captum.convention import Forward, Layout, flat_target  # noqa: E402

__all__ = ["FIMAP", "MaximalInvariantPerturbation"]

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])


class FIMAP(PerturbationAttribution):
    """Feature importance by minimal adversarial perturbation, fitted once to any `forward_func`.

    Attributions point towards the target class. For the predicted class they are the negative of
    the smallest perturbation that leaves it (comparable to LIME's weights), for another class the
    smallest perturbation that reaches it. They are in the inputs' units and do not add up to the
    output. The algorithm is `xai_adapters.fimap.explainer.MinimalPerturbation`.

    Args:
        forward_func: any callable that returns one row of outputs an example. Two dimensions are
            classes; one number an example is a decision between below and above `threshold`, and
            its attributions point up; more dimensions are one decision among all entries.
        output_type: whether outputs are "probabilities" or "logits"; "auto" looks at their range.
        threshold: of a single output; by default 0.5 for probabilities and 0 for others.
        **settings: those of `MinimalPerturbation`, `seed` and `penalty` for example.

    Example:
        >>> X = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
        >>> model = lambda X: torch.stack((X[:, 0], -X[:, 0]), dim=1)
        >>> fimap = FIMAP(model, epochs=5, batch_size=32).fit(X)
        >>> bool(fimap.attribute(torch.tensor([[1.0, 0.0]]), target=0)[0, 0] > 0)
        True
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(forward_func)
        self.output_type: OutputType = output_type
        self.threshold = threshold
        self.explainer = MinimalPerturbation(**settings)
        self._fitted_to: tuple[Callable[..., Any], list[torch.Size], OutputType] | None = None

    def fit(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        additional_forward_args: object = None,
        *,
        internal_batch_size: int | None = None,
    ) -> FIMAP:
        """Fit to what `forward_func` says of `inputs`, and of perturbed inputs.

        Args:
            inputs: some hundreds of examples or more, like those to be explained.
            additional_forward_args: passed to `forward_func` behind the inputs. Where a tensor
                among them has one entry an example, no perturbed inputs are asked about.
            internal_batch_size: examples in one call of `forward_func`, None for all.

        Returns:
            The explainer itself.

        Raises:
            ConstantPredictorError: if all inputs get one class.
            InvalidInputError: for inputs that are empty, not finite or not floating point.
            PredictorError: if `forward_func` does not answer properly.
        """
        layout, rows = Layout.of(inputs)
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        answered = self._black_box(forward.outputs(internal_batch_size), self.output_type)
        answers = answered.probabilities(rows)
        asking = None
        if not forward.has_row_arguments:
            asking = self._asking(
                forward, answered.resolved_output_type, internal_batch_size or len(rows)
            )
            asking.classes = answered.classes
        self.explainer.fit(rows, asking, labels=answers)
        self._fitted_to = (self.forward_func, layout.shapes, answered.resolved_output_type)
        return self

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
    ) -> Inputs:
        """Attributions towards the target class.

        Args:
            inputs: shaped like those of `fit`, with any number of examples.
            target: the class; None is the predicted one.
            additional_forward_args: passed to `forward_func` behind the inputs.
            feature_mask: integers from 0, for one example or for each; features with the same
                number get the mean of their attributions. Numbers are shared across a tuple.

        Returns:
            A tensor, or a tuple of tensors, shaped like the inputs and in their dtypes.

        Raises:
            NotFittedError: before `fit`.
            AssertionError: Captum's own, for a target that the outputs do not have.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, reached = self._decisions(
            layout, rows, output_type, target, additional_forward_args
        )
        attributions = targeted_attributions(self.explainer, rows, original_class, reached)
        if feature_mask is not None:
            attributions = FeatureGroups(
                layout.flat_row_values(feature_mask, "feature_mask"), rows
            ).mean(attributions)
        return cast(Inputs, layout.restore(attributions))

    @torch.no_grad()
    def perturb(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        *,
        line_search: bool = False,
        sparsify: bool = False,
        local_search: int = 0,
    ) -> Inputs:
        """Perturbed inputs, for `captum.robust`.

        Args:
            inputs: shaped like those of `fit`, with any number of examples.
            target: the class to reach; None is the nearest other than the predicted one.
            additional_forward_args: passed to `forward_func` behind the inputs.
            line_search: ask `forward_func` for the shortest step that gives the target class; this
                and the two below are those of `MinimalPerturbation.perturb`.
            sparsify: also undo changes that are not needed.
            local_search: also ask so many times an example for nearer ones.

        Returns:
            Inputs of the same shapes that the surrogate gives the target class, or with
            `line_search` `forward_func` itself, where a step was found that does.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: to check inputs with arguments that belong to each example.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, reached = self._decisions(
            layout, rows, output_type, target, additional_forward_args
        )
        asking = None
        if line_search:
            forward = Forward(self.forward_func, layout, rows, additional_forward_args)
            if forward.has_row_arguments:
                raise InvalidInputError(
                    "line_search asks about other inputs, and an additional argument has one "
                    "entry for each of these; bind it to one example's forward_func with "
                    "functools.partial"
                )
            asking = self._asking(forward, output_type, len(rows))
        found = self.explainer.perturb(
            rows,
            None if target is None else reached,
            original_class=original_class,
            black_box=asking,
            line_search=line_search,
            sparsify=sparsify,
            local_search=local_search,
        )
        return cast(Inputs, layout.restore(found.perturbed))

    @torch.no_grad()
    def certainty(
        self, inputs: Tensor | tuple[Tensor, ...], additional_forward_args: object = None
    ) -> Certainty:
        """How far examples are from another decision; near rank 0 one hangs by a thread.

        Args:
            inputs: shaped like those of `fit`, with any number of examples.
            additional_forward_args: passed to `forward_func` behind the inputs.

        Raises:
            NotFittedError: before `fit`.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, _ = self._decisions(
            layout, rows, output_type, None, additional_forward_args
        )
        return self.explainer.certainty(rows, original_class=original_class)

    def attribute_future(self) -> None:
        """Not implemented: FIMAP asks `forward_func` for finished answers."""
        raise NotImplementedError("attribute_future is not implemented for FIMAP")

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: attributions are distances to a decision, not shares of the inputs."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """The method's name, as the paper writes it."""
        return "FIMAP"

    def _black_box(self, outputs: Tensor, output_type: OutputType) -> BlackBox:
        """The core's view of a `forward_func` that has been asked already, about all rows."""
        return BlackBox(
            lambda _: outputs.reshape(len(outputs), -1),
            output_type=output_type,
            threshold=self.threshold,
            batch_size=len(outputs),
            arrays="torch",
        )

    def _asking(self, forward: Forward, output_type: OutputType, batch_size: int) -> BlackBox:
        """The core's view of a `forward_func` that answers for any rows."""
        return BlackBox(
            lambda points: forward.outputs_of(points).reshape(len(points), -1),
            output_type=output_type,
            threshold=self.threshold,
            batch_size=batch_size,
            arrays="torch",
        )

    def _ready(self, inputs: Tensor | tuple[Tensor, ...]) -> tuple[Layout, Tensor, OutputType]:
        if self._fitted_to is None:
            raise NotFittedError("this FIMAP is not fitted yet; call fit(inputs) first")
        forward_func, shapes, output_type = self._fitted_to
        layout, rows = Layout.of(inputs)
        if layout.shapes != shapes:
            raise InvalidInputError(
                f"inputs have shapes {[tuple(shape) for shape in layout.shapes]} an example; "
                f"fit was given {[tuple(shape) for shape in shapes]}"
            )
        if forward_func is not self.forward_func:
            warnings.warn(
                "forward_func was exchanged after fit: attributions still describe the one that "
                "FIMAP was fitted to; call fit again",
                stacklevel=3,
            )
        return layout, rows, output_type

    def _decisions(
        self,
        layout: Layout,
        rows: Tensor,
        output_type: OutputType,
        target: Any,
        additional_forward_args: object,
    ) -> tuple[Tensor, Tensor]:
        """The predicted class (n,) of each row, and the class (n,) its attribution is for."""
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        outputs = forward.outputs()
        chosen = flat_target(outputs, target)
        # As in fit: the few rows explained together do not show how outputs are to be read.
        original_class = self._black_box(outputs, output_type).labels(rows)
        n_outputs = outputs[0].numel()
        if n_outputs == 1:
            # A single output has one direction to be explained in: up.
            return original_class, torch.ones_like(original_class)
        if n_outputs != self.explainer.n_classes:
            raise NotFittedError(
                f"forward_func gives {n_outputs} outputs; FIMAP was fitted to one with "
                f"{self.explainer.n_classes} classes: call fit again"
            )
        return original_class, original_class if chosen is None else chosen


class MaximalInvariantPerturbation(GradientAttribution):
    """Relevance of features by how little they may move before the class is lost.

    Around each example the largest box is sought in which the class stays; a feature's
    attribution is the largest width of that box minus the feature's own, so it is not negative, 0
    for the least relevant feature, in the inputs' units, and does not add up to the output. The
    algorithm is `xai_adapters.box.explainer.InvariantBox`.

    Args:
        forward_func: a differentiable callable that returns one row of outputs an example. The
            last dimension is the classes; one number an example is a decision between below and
            above `threshold`.
        max_width: the bound C on the widths: one number, or a tensor (tuple) that broadcasts
            against one example of the inputs.
        bounds: the range of the inputs, which no box leaves: a lower and an upper value, each a
            number, or a tensor (tuple) that broadcasts against the inputs. (0, 1) for images.
        **settings: those of `InvariantBox`, `shape`, `penalty` and `draws` for example.

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

    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        max_width: float | Tensor | tuple[Tensor, ...] = 1.0,
        bounds: tuple[Any, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(forward_func)
        self.max_width = max_width
        self.bounds = bounds
        self.settings = settings
        # Made once now, so that a bad setting, or one that belongs to attribute, is named here.
        InvariantBox(
            max_width=1.0, bounds=bounds, internal_batch_size=None, show_progress=False, **settings
        )

    @log_usage()
    @torch.no_grad()
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
            target: the class to keep; None is the predicted one. Where it is not the class of an
                example, no box keeps it, and all of that example's attributions are 0.
            additional_forward_args: passed to `forward_func` behind the inputs.
            feature_mask: integers from 0, for one example or for each; features with the same
                number move together. Numbers are shared across a tuple.
            internal_batch_size: examples in one call of `forward_func` (each counts `n_draws`
                times); it bounds memory and does not change the result.
            show_progress: show a bar on standard error.
            baselines: where a directed or masked box leads: a number or a tensor, for one example
                or for each, or a tuple of these for a tuple of inputs. Other shapes have none.

        Returns:
            A tensor, or a tuple of tensors, shaped like the inputs and in their dtypes.

        Raises:
            AssertionError: Captum's own, for a target that the outputs do not have.
            InvalidInputError: for inputs that are empty, not finite or not floating point, and
                baselines that are missing, not wanted, or of other shapes.
            PredictorError: if `forward_func` has no gradient or does not answer properly.
            NotApplicableError: if it cannot be `compiled`, or its device cannot do that.

        Warns:
            BoxWarning: if a target is not its example's class, an example's largest outputs are
                equal, or `forward_func` answers NaN inside a box or has no finite gradient there.
        """
        layout, rows = Layout.of(inputs)
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        rows = layout.shaped(rows)

        def shaped(values: Any, name: str) -> Any:
            return None if values is None else layout.shaped(layout.flat_row_values(values, name))

        solver = InvariantBox(
            **self.settings,
            max_width=layout.feature_values(self.max_width, "max_width"),
            bounds=None
            if self.bounds is None
            else (shaped(self.bounds[0], "bounds"), shaped(self.bounds[1], "bounds")),
            internal_batch_size=internal_batch_size,
            show_progress=show_progress,
        )
        with left_as_found(self.forward_func, rows.device):
            kept, position = forward.decisions(target)
            box = solver.solve(
                forward.outputs_at,
                rows,
                kept,
                row_data=(torch.arange(len(rows), device=rows.device), position),
                baseline=shaped(baselines, "baselines"),
                tied=shaped(feature_mask, "feature_mask"),
            )
        return cast(Inputs, layout.restore(box.scores()))

    def attribute_future(self) -> None:
        """Not implemented: each step needs the gradient of the last."""
        raise NotImplementedError("attribute_future is not implemented for this class")

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: attributions are widths, not shares of the inputs."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """The method's name, as the paper writes it."""
        return "Maximal Invariant Perturbation"
