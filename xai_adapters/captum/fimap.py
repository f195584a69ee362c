"""FIMAP as a Captum attribution."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from captum.attr import PerturbationAttribution
from captum.log import log_usage
from torch import Tensor
from typing_extensions import Unpack

from xai_adapters.captum.convention import Forward, Layout, flat_target
from xai_adapters.errors import InvalidInputError, NotFittedError
from xai_adapters.features.groups import FeatureGroups
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.fimap import Certainty, MinimalPerturbation
from xai_adapters.fimap.attributions import targeted_attributions
from xai_adapters.fimap.settings import FittingOptions
from xai_adapters.model.black_box import BlackBox
from xai_adapters.model.outputs import OutputType, check_output_type
from xai_adapters.utils.options import check_number, named_options, shown

Inputs = TypeVar("Inputs", Tensor, tuple[Tensor, ...])


class FIMAP(PerturbationAttribution):
    """Feature importance by minimal adversarial perturbation, fitted once to any `forward_func`.

    Attributions point in the direction of the target class. For the predicted class they are the
    negative of the smallest perturbation that leaves it (comparable to LIME's weights), for another
    class the smallest perturbation that reaches it. They are in the inputs' units and do not add up
    to the output. The algorithm is `xai_adapters.MinimalPerturbation`.

    Args:
        forward_func: any callable that returns one row of outputs per example. Outputs (n, K) are
            classes; outputs (n,) or (n, 1) decide between below and above `threshold`, and their
            attributions point up; outputs of more dimensions are one decision among all entries.
        output_type: whether outputs are "probabilities" or "logits"; "auto" looks at their range.
        threshold: of a single output; by default 0.5 for probabilities and 0 for logits.
        schema: as for `MinimalPerturbation`, of the flattened inputs.
        **options: see `MinimalPerturbation`.

    Raises:
        UnknownOptionError: for an option that does not exist; the message suggests the nearest.
        InvalidInputError: for an option of the wrong type or out of range.

    Example:
        >>> X = torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
        >>> model = lambda X: torch.stack((X[:, 0], -X[:, 0]), dim=1)
        >>> fimap = FIMAP(model, epochs=5, batch_size=32).fit(X)
        >>> bool(fimap.attribute(torch.tensor([[1.0, 0.0]]), target=0)[0, 0] > 0)
        True
    """

    @named_options(MinimalPerturbation)
    def __init__(
        self,
        forward_func: Callable[..., Any],
        *,
        output_type: OutputType = "auto",
        threshold: float | None = None,
        schema: FeatureSchema | None = None,
        **options: Unpack[FittingOptions],
    ) -> None:
        super().__init__(forward_func)
        check_output_type(output_type)
        check_number("threshold", threshold, optional=True)
        self.output_type: OutputType = output_type
        self.threshold = threshold
        self.explainer = MinimalPerturbation(schema=schema, **options)
        self._options = {"schema": schema, **options}
        self._fitted_to: tuple[Callable[..., Any], list[torch.Size], OutputType] | None = None

    def __repr__(self) -> str:
        """The options that differ from their defaults."""
        return shown(
            self, {"output_type": self.output_type, "threshold": self.threshold, **self._options}
        )

    @named_options()
    def fit(
        self,
        inputs: Tensor | tuple[Tensor, ...],
        additional_forward_args: object = None,
        *,
        internal_batch_size: int | None = None,
    ) -> FIMAP:
        """Fit to the outputs of `forward_func` at `inputs` and at perturbed inputs.

        Args:
            inputs: some hundreds of examples or more, like those to be explained.
            additional_forward_args: passed to `forward_func` after the inputs. If one of them is a
                tensor with one entry per example, `forward_func` is not asked about perturbed
                inputs.
            internal_batch_size: examples in one call of `forward_func`, None for all.

        Returns:
            The explainer itself.

        Raises:
            ConstantPredictorError: if all inputs get one class.
            InvalidInputError: for inputs that are empty, not finite or not floating point.
            PredictorError: if `forward_func` does not return one row of outputs per example.
        """
        layout, rows = Layout.of(inputs)
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        outputs = forward.outputs(internal_batch_size)
        answered = self._black_box(lambda _: outputs, self.output_type, len(rows))
        answers = answered.probabilities(rows)
        black_box = None
        if not forward.has_row_arguments:
            black_box = self._black_box(
                forward.outputs_of,
                answered.resolved_output_type,
                internal_batch_size or len(rows),
            )
            black_box.classes = answered.classes
        self.explainer.fit(rows, black_box, labels=answers)
        self._fitted_to = (self.forward_func, layout.shapes, answered.resolved_output_type)
        return self

    @log_usage()
    @torch.no_grad()
    @named_options()
    def attribute(
        self,
        inputs: Inputs,
        target: Any = None,
        additional_forward_args: object = None,
        feature_mask: Tensor | tuple[Tensor, ...] | None = None,
    ) -> Inputs:
        """Attributions in the direction of the target class.

        Args:
            inputs: shaped like those of `fit`, with any number of examples.
            target: the class; None for the predicted one.
            additional_forward_args: passed to `forward_func` after the inputs.
            feature_mask: integers from 0, for one example or for each; features with the same
                number get the mean of their attributions. Numbers are shared across a tuple.

        Returns:
            A tensor, or a tuple of tensors, shaped like the inputs and in their dtypes.

        Raises:
            NotFittedError: before `fit`.
            AssertionError: Captum's own, for a target that the outputs do not have.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, target_class = self._decisions(
            layout, rows, output_type, target, additional_forward_args
        )
        attributions = targeted_attributions(self.explainer, rows, original_class, target_class)
        if feature_mask is not None:
            attributions = FeatureGroups(
                layout.flat_row_values(feature_mask, "feature_mask"), rows
            ).mean(attributions)
        return cast(Inputs, layout.restore(attributions))

    @torch.no_grad()
    @named_options()
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
            target: the class to reach; None for the nearest other than the predicted one.
            additional_forward_args: passed to `forward_func` after the inputs.
            line_search: ask `forward_func` for the shortest step that reaches the target class;
                see `MinimalPerturbation.perturb` for this and the next two.
            sparsify: also undo changes that are not needed.
            local_search: queries per example that are spent on nearer perturbed inputs.

        Returns:
            Inputs of the same shapes to which the surrogate gives the target class, or with
            `line_search` those to which `forward_func` does, where any were found.

        Raises:
            NotFittedError: before `fit`.
            InvalidInputError: for a line search with arguments that belong to each example.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, target_class = self._decisions(
            layout, rows, output_type, target, additional_forward_args
        )
        black_box = None
        if line_search:
            forward = Forward(self.forward_func, layout, rows, additional_forward_args)
            if forward.has_row_arguments:
                raise InvalidInputError(
                    "line_search asks forward_func about other inputs, and an additional argument "
                    "has one entry for each of these; explain one example at a time, and bind its "
                    "argument with functools.partial"
                )
            black_box = self._black_box(forward.outputs_of, output_type, len(rows))
        found = self.explainer.perturb(
            rows,
            None if target is None else target_class,
            original_class=original_class,
            black_box=black_box,
            line_search=line_search,
            sparsify=sparsify,
            local_search=local_search,
        )
        return cast(Inputs, layout.restore(found.perturbed))

    @torch.no_grad()
    @named_options()
    def certainty(
        self, inputs: Tensor | tuple[Tensor, ...], additional_forward_args: object = None
    ) -> Certainty:
        """How far examples are from another decision; a rank near 0 means close to the boundary.

        Args:
            inputs: shaped like those of `fit`, with any number of examples.
            additional_forward_args: passed to `forward_func` after the inputs.

        Raises:
            NotFittedError: before `fit`.
        """
        layout, rows, output_type = self._ready(inputs)
        original_class, _ = self._decisions(
            layout, rows, output_type, None, additional_forward_args
        )
        return self.explainer.certainty(rows, original_class=original_class)

    def attribute_future(self) -> None:
        """Not implemented: FIMAP needs the outputs themselves, not futures of them."""
        raise NotImplementedError("attribute_future is not implemented for FIMAP")

    @property
    def multiplies_by_inputs(self) -> bool:
        """False: attributions are distances to a decision, not shares of the inputs."""
        return False

    @classmethod
    def get_name(cls) -> str:
        """The method's name, as the paper writes it."""
        return "FIMAP"

    def _black_box(
        self, outputs_of: Callable[[Tensor], Tensor], output_type: OutputType, batch_size: int
    ) -> BlackBox:
        """A black box of rows (n, d) with the outputs (n, ...) that a function gives."""
        return BlackBox(
            lambda rows: outputs_of(rows).reshape(len(rows), -1),
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
                f"examples have shapes {[tuple(shape) for shape in layout.shapes]}; those of fit "
                f"had {[tuple(shape) for shape in shapes]}"
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
        """The predicted class (n,) of each row, and its target class (n,)."""
        forward = Forward(self.forward_func, layout, rows, additional_forward_args)
        outputs = forward.outputs()
        chosen = flat_target(outputs, target)
        # With the output type of fit: a few rows may not show what the outputs are.
        original_class = self._black_box(lambda _: outputs, output_type, len(rows)).labels(rows)
        n_outputs = outputs[0].numel()
        if n_outputs == 1:
            # The attributions of a single output always point up.
            return original_class, torch.ones_like(original_class)
        if n_outputs != self.explainer.n_classes:
            raise NotFittedError(
                f"forward_func gives {n_outputs} outputs; FIMAP was fitted to one with "
                f"{self.explainer.n_classes} classes: call fit again"
            )
        return original_class, original_class if chosen is None else chosen
