"""What an axiom is measured on, and which cases an explainer is made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from typing_extensions import Unpack

from xai_adapters.axioms.cases.networks import (
    ACTIVATIONS,
    PIECEWISE_LINEAR,
    STYLES,
    Activation,
    Network,
    Style,
    code,
)
from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.options import check_choice, check_flag, check_whole_number


class DomainOptions(TypedDict, total=False):
    """The fields of `Domain`, as options of a call."""

    activations: tuple[Activation, ...]
    max_hidden_layers: int
    styles: tuple[Style, ...]
    probabilities: bool
    min_features: int
    max_features: int


@dataclass(frozen=True)
class Domain:
    """The models and rows an explainer is made for; others are not drawn for it.

    Args:
        activations: of the networks.
        max_hidden_layers: 0 for linear models.
        styles: how networks may be put together.
        probabilities: whether the explainer reads outputs as class probabilities: its models then
            have at least two outputs, with a softmax behind.
        min_features: columns a row has at least.
        max_features: columns a row has at most.

    Example:
        >>> Domain.piecewise_linear().admits(Network([[[1]], [[1]]], [[0], [0]], "tanh"))
        False
    """

    activations: tuple[Activation, ...] = ACTIVATIONS
    max_hidden_layers: int = 2
    styles: tuple[Style, ...] = ("module", "functional")
    probabilities: bool = False
    min_features: int = 1
    max_features: int = 4

    def __post_init__(self) -> None:
        """Refuse what no network can be drawn from."""
        for name, known in (("activations", ACTIVATIONS), ("styles", STYLES)):
            chosen = getattr(self, name)
            if not chosen or isinstance(chosen, str):
                raise InvalidInputError(f"{name} must be a tuple of {known}, is {chosen!r}")
            for each in chosen:
                check_choice(f"each of {name}", each, known)
        check_whole_number("max_hidden_layers", self.max_hidden_layers, at_least=0)
        check_flag("probabilities", self.probabilities)
        check_whole_number("min_features", self.min_features, at_least=1)
        check_whole_number("max_features", self.max_features, at_least=self.min_features)

    @classmethod
    def piecewise_linear(cls, **options: Unpack[DomainOptions]) -> Domain:
        """Networks of ReLUs; the options are the other fields."""
        options.setdefault("activations", PIECEWISE_LINEAR)
        return cls(**options)

    @classmethod
    def linear(cls, **options: Unpack[DomainOptions]) -> Domain:
        """Networks without a hidden layer; the options are the other fields."""
        options.setdefault("max_hidden_layers", 0)
        return cls(**options)

    @property
    def min_outputs(self) -> int:
        """Outputs a model has at least."""
        return 2 if self.probabilities else 1

    def admits(self, network: Network) -> bool:
        """Whether a network belongs to the domain."""
        n_hidden_layers = len(network.weights) - 1
        return (
            n_hidden_layers <= self.max_hidden_layers
            and (n_hidden_layers == 0 or network.activation in self.activations)
            and network.style in self.styles
            and network.n_outputs >= self.min_outputs
            and self.min_features <= network.n_features <= self.max_features
        )


@dataclass(frozen=True, repr=False)
class Case:
    """One model, or two, with rows and targets; its `repr` is the code that makes it.

    Args:
        network: the model.
        rows: (n, d) numbers.
        targets: (n,) outputs to be explained.
        other: a second model, for axioms that compare two.
        **details: whatever else the axiom drew: which feature is a dummy, a factor, a seed.

    Example:
        >>> Case(Network([[[1, 0]]], [[0]]), [[1, 2]], [0], feature=1)
        Case(Network([[[1, 0]]], [[0]]), [[1, 2]], [0], feature=1)
    """

    network: Network
    rows: Sequence[Sequence[float]]
    targets: Sequence[int]
    other: Network | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        network: Network,
        rows: Sequence[Sequence[float]],
        targets: Sequence[int],
        other: Network | None = None,
        **details: Any,
    ) -> None:
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "rows", tuple(tuple(row) for row in rows))
        object.__setattr__(self, "targets", tuple(targets))
        object.__setattr__(self, "other", other)
        object.__setattr__(self, "details", details)

    def __repr__(self) -> str:
        """The code that makes it."""
        other = repr(self.other) if self.other else None
        return f"Case({self.network!r}, {self.arguments(other)})"

    def arguments(self, other: str | None) -> str:
        """The code of everything behind the network, with `other` as it is called there."""
        given = [code(self.rows), code(self.targets)]
        if other:
            given.append(f"other={other}")
        given += [f"{name}={code(value)}" for name, value in self.details.items()]
        return ", ".join(given)

    def but(
        self, *, network: Network | None = None, other: Network | None = None, **details: Any
    ) -> Case:
        """The case with another network, a second network, or further details."""
        return Case(
            network or self.network,
            self.rows,
            self.targets,
            other or self.other,
            **{**self.details, **details},
        )

    @property
    def size(self) -> tuple[int, int, int, int]:
        """What is smaller reads better: hidden units, features, rows, characters."""
        network = self.network
        return network.n_hidden, network.n_features, len(self.rows), len(repr(self))
