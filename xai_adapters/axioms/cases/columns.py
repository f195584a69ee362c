"""What the columns of a drawn table may hold, in words that can be read in a counterexample.

A list such as `["free", "up", [-3, 3], 2]` says what each feature is: a number that is "free",
"fixed", may go "up" or "down" only, or stays "whole"; a number within bounds `[lower, upper]`; or
a category, one-hot in so many columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor
from torch.nn.functional import one_hot

from xai_adapters.features.schema import Categorical, Continuous, Feature, FeatureSchema

Column = str | int | Sequence[float]


def placed(features: Sequence[Column]) -> Iterator[tuple[Column, slice]]:
    """Each feature with its columns.

    Example:
        >>> list(placed(["up", 2]))
        [('up', slice(0, 1, None)), (2, slice(1, 3, None))]
    """
    start = 0
    for feature in features:
        width = feature if isinstance(feature, int) else 1
        yield feature, slice(start, start + width)
        start += width


def schema_of(features: Sequence[Column]) -> FeatureSchema:
    """The features as a schema.

    Example:
        >>> schema_of(["up", 2])
        FeatureSchema(3 columns: 1 continuous, 1 categorical features)
    """
    kinds: list[Feature] = []
    for number, (feature, place) in enumerate(placed(features)):
        name, column = f"x{number}", place.start
        if isinstance(feature, int):
            columns = tuple(range(place.start, place.stop))
            kinds.append(Categorical(name, tuple(range(feature)), columns))
        elif not isinstance(feature, str):
            lower, upper = feature
            kinds.append(Continuous(name, column, lower, upper))
        elif feature in ("up", "down"):
            kinds.append(Continuous(name, column, direction="up" if feature == "up" else "down"))
        else:
            kinds.append(
                Continuous(name, column, mutable=feature != "fixed", integer=feature == "whole")
            )
    return FeatureSchema(kinds)


def as_table(numbers: Tensor, features: Sequence[Column]) -> Tensor:
    """Any numbers (n, d) as rows of a table: rounded, within bounds, one-hot.

    Example:
        >>> import torch
        >>> as_table(torch.tensor([[0.7, 5.0, 0.3, 0.2]]), ["whole", [-3, 3], 2]).tolist()
        [[1.0, 3.0, 1.0, 0.0]]
    """
    rows = numbers.clone()
    for feature, place in placed(features):
        if isinstance(feature, int):
            rows[:, place] = one_hot(rows[:, place].argmax(dim=1), feature).to(rows.dtype)
        elif not isinstance(feature, str):
            rows[:, place] = rows[:, place].clamp(*feature)
        elif feature == "whole":
            rows[:, place] = rows[:, place].round()
    return rows


def violation(before: Tensor, after: Tensor, features: Sequence[Column]) -> Tensor:
    """How far each row (n,) is from what its features may be, in the feature that is furthest.

    Example:
        >>> import torch
        >>> before, after = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.25, 0.75]])
        >>> violation(before, after, ["up", 2]).item(), violation(before, after, ["down", 2]).item()
        (0.5, 0.25)
    """
    step = after - before
    # What is not itself as a table's value is off by the difference.
    off = (after - as_table(after, features)).abs()
    for feature, place in placed(features):
        if feature == "fixed":
            off[:, place] = step[:, place].abs()
        elif feature in ("up", "down"):
            off[:, place] = (step[:, place] * (-1 if feature == "up" else 1)).clamp(min=0)
    return off.amax(dim=1)
