"""The two kinds of feature a model's columns can hold."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xai_adapters.errors import InvalidInputError
from xai_adapters.utils.options import check_choice, check_flag, check_number, with_named_options

Direction = Literal["both", "up", "down"]
Category = str | int | float | bool


@with_named_options
@dataclass(frozen=True)
class Continuous:
    """One column of numbers.

    Args:
        name: what people call the feature.
        column: its position among the model's columns.
        lower: smallest value it may be changed to, in the column's units.
        upper: largest value it may be changed to.
        mutable: whether it may change at all.
        direction: which way it may change.
        integer: whether a changed value has to be a whole number.
        cost: weight of its change in the metric; positive and finite.
        reach: how far below (0 or less) and above (0 or more) its own value a row may go.

    Raises:
        InvalidInputError: for settings that nothing can satisfy; the feature is named.

    Example:
        >>> Continuous("age", column=0, lower=18, upper=90, direction="up", integer=True).upper
        90.0
    """

    name: str
    column: int
    lower: float = -math.inf
    upper: float = math.inf
    mutable: bool = True
    direction: Direction = "both"
    integer: bool = False
    cost: float = 1.0
    reach: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        """Bring the settings into one form and check them."""
        (column,) = _columns(self.name, [self.column])
        where = f"{self.name} (column {column})"
        for option in ("lower", "upper"):
            _check_bound(f"{where}: {option}", getattr(self, option))
        for option in ("mutable", "integer"):
            check_flag(f"{where}: {option}", getattr(self, option))
        check_choice(f"{where}: direction", self.direction, get_args(Direction))
        below, above = map(float, self.reach)
        lower, upper, cost = float(self.lower), float(self.upper), _cost(where, self.cost)
        _store(self, column=column, lower=lower, upper=upper, cost=cost, reach=(below, above))
        if not lower <= upper or lower == math.inf or upper == -math.inf:
            raise InvalidInputError(f"{where}: no number lies in the bounds {lower:g} to {upper:g}")
        if self.integer and lower > -math.inf and math.ceil(lower) > upper:
            raise InvalidInputError(
                f"{where}: no whole number lies in the bounds {lower:g} to {upper:g}"
            )
        if not below <= 0 <= above:
            raise InvalidInputError(
                f"{where}: reach must go from 0 or less to 0 or more, not {below:g} to {above:g}"
            )

    @property
    def steps(self) -> tuple[float, float]:
        """How far below and above its own value a row may go, all settings but bounds counted."""
        down = self.mutable and self.direction != "up"
        up = self.mutable and self.direction != "down"
        return (self.reach[0] if down else 0.0, self.reach[1] if up else 0.0)


@with_named_options
@dataclass(frozen=True)
class Categorical:
    """One feature with a fixed set of values, one-hot or as whole-number codes.

    Args:
        name: what people call the feature.
        categories: its k values, in the order of their columns or codes.
        columns: k model columns if one-hot, else the single column that holds codes 0 to k-1.
        one_hot: which of the two.
        mutable: whether it may change at all.
        allowed: the categories it may change to, by default all; a row's own is always allowed.
        cost: weight of its change in the metric; positive and finite.

    Raises:
        InvalidInputError: for categories and columns that do not fit; the feature is named.

    Example:
        >>> Categorical("job", ("clerk", "cook"), columns=(3, 4)).categories
        ('clerk', 'cook')
    """

    name: str
    categories: tuple[Category, ...]
    columns: tuple[int, ...]
    one_hot: bool = True
    mutable: bool = True
    allowed: tuple[Category, ...] | None = None
    cost: float = 1.0

    def __post_init__(self) -> None:
        """Bring the settings into one form and check them."""
        columns = _columns(self.name, self.columns)
        where = f"{self.name} (columns {', '.join(map(str, columns))})"
        for option in ("one_hot", "mutable"):
            check_flag(f"{where}: {option}", getattr(self, option))
        categories, cost = tuple(self.categories), _cost(where, self.cost)
        allowed = None if self.allowed is None else tuple(self.allowed)
        _store(self, categories=categories, columns=columns, allowed=allowed, cost=cost)
        for category in categories:
            if not is_category(category):
                raise InvalidInputError(
                    f"{where}: category {category!r} is of type {type(category).__name__}; "
                    "use text, finite numbers or booleans"
                )
        for category in _repeated(categories):
            raise InvalidInputError(f"{where}: category {category!r} is listed twice")
        wanted = len(categories) if self.one_hot else 1
        if not categories or len(columns) != wanted:
            raise InvalidInputError(
                f"{where}: {len(categories)} categories {'one-hot' if self.one_hot else 'as codes'}"
                f" take {max(wanted, 1)} columns, not {len(columns)}"
            )
        for category in allowed or ():
            if category not in categories:
                raise InvalidInputError(
                    f"{where}: allowed category {category!r} is none of its categories"
                )


Feature = Continuous | Categorical


def columns_of(feature: Feature) -> tuple[int, ...]:
    """Return the model columns a feature owns."""
    return (feature.column,) if isinstance(feature, Continuous) else feature.columns


def is_category(value: object) -> bool:
    """Tell whether a value can be a category: text, a boolean or a finite number."""
    return isinstance(value, Category) and not (
        isinstance(value, float) and not math.isfinite(value)
    )


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """Return a feature as strict JSON; None stands for no bound."""
    values = dict(vars(feature))
    if isinstance(feature, Categorical):
        allowed = None if feature.allowed is None else list(feature.allowed)
        lists = {"categories": list(feature.categories), "columns": list(feature.columns)}
        return {"kind": "categorical", **values, **lists, "allowed": allowed}
    return {
        "kind": "continuous",
        **values,
        "lower": _bound(feature.lower),
        "upper": _bound(feature.upper),
        "reach": [_bound(step) for step in feature.reach],
    }


def feature_from_dict(values: Mapping[str, Any]) -> Feature:
    """Make the feature that `feature_to_dict` described.

    Raises:
        InvalidInputError: for values that describe no feature.
    """
    settings = dict(values)
    kind = settings.pop("kind", None)
    if kind == "categorical":
        return Categorical(**settings)
    if kind != "continuous":
        raise InvalidInputError(f"a feature is 'continuous' or 'categorical', not {kind!r}")
    ends = (-math.inf, math.inf)
    for name, end in zip(("lower", "upper"), ends, strict=True):
        settings[name] = end if settings[name] is None else settings[name]
    below, above = (
        end if step is None else step for step, end in zip(settings["reach"], ends, strict=True)
    )
    return Continuous(**{**settings, "reach": (below, above)})


def _bound(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _store(feature: Feature, **values: object) -> None:
    # The dataclasses are frozen; this is how their own constructors tidy what they were given.
    for name, value in values.items():
        object.__setattr__(feature, name, value)


def _columns(name: str, columns: Iterable[int]) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(column) for column in columns)
    except TypeError as error:
        raise InvalidInputError(
            f"{name}: columns must be whole numbers, are {columns!r:.60}"
        ) from error
    for column in numbers:
        if column < 0:
            raise InvalidInputError(f"{name}: column {column} is not a position from 0 on")
    for twice in _repeated(numbers):
        raise InvalidInputError(f"{name}: column {twice} is listed twice")
    return numbers


def _repeated(values: Iterable[Category]) -> list[Category]:
    return [value for value, count in Counter(values).items() if count > 1]


def _cost(where: str, cost: float) -> float:
    check_number(f"{where}: cost", _plain(cost), above=0, below=math.inf)
    return float(cost)


def _check_bound(name: str, bound: object) -> None:
    # NaN is for the interval to refuse, with the other bound beside it.
    if bound == bound:
        check_number(name, _plain(bound))


def _plain(number: Any) -> Any:
    """A number as Python's own, where it is a tensor's or an array's."""
    return number.item() if hasattr(number, "item") else number
