"""Options of public calls: known by name, of the right type, within their range, and shown."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

from xai_adapters.errors import InvalidInputError, UnknownOptionError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def named_options(
    *sources: Callable[..., Any],
    only: Collection[str] | None = None,
    tolerated: Collection[str] = (),
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Refuse options that a call does not have, and list those that it has.

    Args:
        *sources: classes whose keyword arguments the call takes too, as
            `**options: Unpack[TheirTypedDict]`: dataclasses of settings, or explainers. They are
            listed in the call's signature, for completion and `help`.
        only: the names that are taken from the sources; by default all of them.
        tolerated: names that are let through without being listed or suggested.

    Returns:
        A decorator of functions and methods. An unknown option raises `UnknownOptionError`, a
        `TypeError` that names the class called and the nearest option.

    Example:
        >>> class Explainer:
        ...     @named_options()
        ...     def __init__(self, *, epochs: int = 10) -> None: ...
        >>> Explainer(epoch=3)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.UnknownOptionError: Explainer has no option 'epoch'. Did you mean \
'epochs'?
    """

    def decorate(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        signature = _listed(inspect.signature(call), sources, only)
        known = [
            name
            for name, parameter in signature.parameters.items()
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]

        @functools.wraps(call)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for name in kwargs:
                if name not in known and name not in tolerated:
                    raise UnknownOptionError(_owner(call, args), name, known)
            return call(*args, **kwargs)

        checked.__signature__ = signature  # type: ignore[attr-defined]
        return checked

    return decorate


def with_named_options(cls: type[Result]) -> type[Result]:
    """Refuse options that the constructor of a class, such as a dataclass, does not have.

    Example:
        >>> @with_named_options
        ... class Feature:
        ...     def __init__(self, *, mutable: bool = True) -> None: ...
        >>> Feature(mutabel=False)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.UnknownOptionError: Feature has no option 'mutabel'. Did you mean \
'mutable'?
    """
    cls.__init__ = named_options()(cls.__init__)  # type: ignore[method-assign]
    return cls


def _listed(
    signature: inspect.Signature,
    sources: tuple[Callable[..., Any], ...],
    only: Collection[str] | None,
) -> inspect.Signature:
    """The signature with the keyword arguments of the sources in place of its `**options`."""
    if not sources:
        return signature
    listed = {p.name: p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD}
    for source in sources:
        for name, parameter in inspect.signature(source).parameters.items():
            if only is None or name in only:
                listed.setdefault(name, parameter.replace(kind=parameter.KEYWORD_ONLY))
    return signature.replace(parameters=list(listed.values()))


def _owner(call: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What the user called: a class, a method of one, or a function."""
    if "." not in call.__qualname__ or call.__qualname__.split(".")[-2] == "<locals>" or not args:
        return call.__name__
    owner = args[0] if isinstance(args[0], type) else type(args[0])
    is_the_object = call.__name__ in ("__init__", "__call__")
    return owner.__name__ if is_the_object else f"{owner.__name__}.{call.__name__}"


def plain_numbers(settings: Any) -> None:
    """Make numbers of NumPy in a frozen dataclass of settings Python's own, which JSON can hold."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, np.generic):
            object.__setattr__(settings, each.name, value.item())


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    optional: bool = False,
) -> None:
    """Raise unless an option is a number within its range.

    Args:
        name: of the option.
        value: as it was given.
        at_least: its smallest value.
        above: what it must be larger than.
        at_most: its largest value.
        below: what it must be smaller than.
        optional: whether it may be None.

    Raises:
        InvalidInputError: that says the range and the value.

    Example:
        >>> check_number("penalty", -1, at_least=0)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: penalty must be at least 0, is -1
    """
    _check_range(name, value, "a number", Real, (at_least, above, at_most, below), optional)


def check_whole_number(
    name: str, value: Any, *, at_least: int | None = None, optional: bool = False
) -> None:
    """Raise `InvalidInputError` unless an option is a whole number of at least `at_least`.

    Example:
        >>> check_whole_number("epochs", 2.5, at_least=1)
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: epochs must be a whole number, is 2.5
    """
    _check_range(name, value, "a whole number", Integral, (at_least, None, None, None), optional)


def _check_range(
    name: str,
    value: Any,
    noun: str,
    kind: type,
    limits: tuple[float | None, float | None, float | None, float | None],
    optional: bool,
) -> None:
    if value is None and optional:
        return
    or_none = " or None" if optional else ""
    if not isinstance(value, kind) or isinstance(value, bool) or value != value:
        raise InvalidInputError(f"{name} must be {noun}{or_none}, is {value!r:.60}")
    number: Any = value
    at_least, above, at_most, below = limits
    kept = {
        f"at least {at_least}": at_least is None or number >= at_least,
        f"more than {above}": above is None or number > above,
        f"at most {at_most}": at_most is None or number <= at_most,
        f"less than {below}": below is None or number < below,
    }
    broken = [words for words, holds in kept.items() if not holds]
    if broken:
        raise InvalidInputError(f"{name} must be {broken[0]}, is {value!r:.60}")


def check_choice(name: str, value: Any, choices: Collection[str | None]) -> None:
    """Raise `InvalidInputError` unless an option is one of its choices.

    Example:
        >>> check_choice("norm", "l3", ["l1", "l2"])
        Traceback (most recent call last):
            ...
        xai_adapters.errors.InvalidInputError: norm must be one of 'l1', 'l2', is 'l3'
    """
    if not any(
        value is choice or (isinstance(value, str) and value == choice) for choice in choices
    ):
        known = ", ".join(repr(choice) for choice in choices)
        raise InvalidInputError(f"{name} must be one of {known}, is {value!r:.60}")


def check_flag(name: str, value: Any) -> None:
    """Raise `InvalidInputError` unless an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidInputError(f"{name} must be True or False, is {value!r:.60}")


def shown(instance: object, values: Mapping[str, Any]) -> str:
    """A `repr`: the constructor's call, with the options that differ from its defaults.

    Args:
        instance: of the class that was called.
        values: of its options, by name.

    Example:
        >>> class Explainer:
        ...     def __init__(self, *, penalty: float | None = None, seed: int = 0) -> None: ...
        >>> shown(Explainer(), {"penalty": 3, "seed": 0})
        'Explainer(penalty=3)'
    """
    cls = type(instance)
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    given = (
        f"{option}={value!r}"
        for option, value in values.items()
        if not _is_same(value, defaults[option])
    )
    return f"{cls.__name__}({', '.join(given)})"


def _is_same(value: Any, default: Any) -> bool:
    """Whether a value is the default; arrays never are."""
    return value is default or (type(value) is type(default) and bool(value == default))
