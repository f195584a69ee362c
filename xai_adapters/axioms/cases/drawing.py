"""How cases are drawn: hypothesis strategies that construct what an axiom speaks of.

Nothing is filtered. Weights shrink to 1, biases to 0, layers and units to none, so that what is
left of a counterexample can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from xai_adapters.axioms.cases.case import Case, Domain
from xai_adapters.axioms.cases.networks import Activation, Network, Style

Cases = Callable[[Domain], SearchStrategy[Case]]

WEIGHTS = st.sampled_from((1, -1, 2, -2, 3, -3, 0))
# Up to 8, for kinks close to a row: 9 times 1 less 8.
BIASES = st.sampled_from((0, 1, -1, 2, -2, 3, -3, 5, -5, 8, -8))
# Of whatever is too large to be drawn number by number.
SEEDS = st.integers(0, 999)
_MAX_WIDTH = 3
_MAX_ROWS = 3
# Of a classifier, whose rows some axioms count.
_MAX_EXPLAINED_ROWS = 6


def matrix(draw: DrawFn, height: int, width: int) -> list[list[float]]:
    """Small whole weights (height, width)."""
    return [[draw(WEIGHTS) for _ in range(width)] for _ in range(height)]


def vector(draw: DrawFn, length: int) -> list[float]:
    """Small whole biases (length,)."""
    return [draw(BIASES) for _ in range(length)]


def network(
    draw: DrawFn,
    domain: Domain,
    *,
    n_features: int | None = None,
    min_features: int = 1,
    n_hidden_layers: int | None = None,
    activation: Activation | None = None,
    style: Style | None = None,
    n_outputs: int | None = None,
) -> Network:
    """A network of the domain; what is given is not drawn."""
    if n_features is None:
        least = max(min_features, domain.min_features)
        n_features = draw(st.integers(least, max(least, domain.max_features)))
    if n_hidden_layers is None:
        n_hidden_layers = draw(st.integers(0, domain.max_hidden_layers))
    if n_outputs is None:
        n_outputs = draw(st.integers(domain.min_outputs, domain.min_outputs + 1))
    if activation is None:
        drawn: Activation = draw(st.sampled_from(domain.activations))
        activation = drawn if n_hidden_layers else "relu"
    together: Style = draw(st.sampled_from(domain.styles)) if style is None else style
    widths = [draw(st.integers(1, _MAX_WIDTH)) for _ in range(n_hidden_layers)]
    weights, biases = [], []
    for width_in, width_out in zip([n_features, *widths], [*widths, n_outputs], strict=True):
        weights.append(matrix(draw, width_out, width_in))
        biases.append(vector(draw, width_out))
    return Network(weights, biases, activation, together)


def rows_for(
    draw: DrawFn, model: Network, *, n_rows: int | None = None
) -> tuple[list[list[float]], list[int]]:
    """Rows (n, d) for a network, and a target for each."""
    n_rows = draw(st.integers(1, _MAX_ROWS)) if n_rows is None else n_rows
    rows = matrix(draw, n_rows, model.n_features)
    return rows, [draw(st.integers(0, model.n_outputs - 1)) for _ in range(n_rows)]


def case_of(draw: DrawFn, domain: Domain, **given: Any) -> Case:
    """A network with rows."""
    model = network(draw, domain, **given)
    return Case(model, *rows_for(draw, model))


def any_case(domain: Domain) -> SearchStrategy[Case]:
    """Any network of the domain, with rows."""
    return _any_case(domain)


@st.composite
def _any_case(draw: DrawFn, domain: Domain) -> Case:
    return case_of(draw, domain)


def classifier(draw: DrawFn, domain: Domain, **given: Any) -> Network:
    """A network of two or three classes."""
    return network(draw, domain, n_outputs=draw(st.integers(2, 3)), **given)


def several_rows(domain: Domain) -> SearchStrategy[Case]:
    """A few rows of a classifier, which may be given one by one."""
    return rows_of_classes(domain, min_rows=2, max_rows=3)


@st.composite
def rows_of_classes(
    draw: DrawFn,
    /,
    domain: Domain,
    min_rows: int = 1,
    max_rows: int = _MAX_EXPLAINED_ROWS,
    **given: Any,
) -> Case:
    """Rows of a classifier; their targets are not read."""
    model = classifier(draw, domain, **given)
    rows, _ = rows_for(draw, model, n_rows=draw(st.integers(min_rows, max_rows)))
    return Case(model, rows, [0] * len(rows))


@st.composite
def classes_to_reach(draw: DrawFn, domain: Domain) -> Case:
    """Rows of a classifier with a class to reach for each."""
    model = classifier(draw, domain)
    return Case(model, *rows_for(draw, model, n_rows=draw(st.integers(1, _MAX_EXPLAINED_ROWS))))
