"""Flags that are read from a model of options, and lists in flags."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel


def parameters(options: type[BaseModel], *, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """A parameter of a typer command for each field of a model; None where a flag is not given.

    Args:
        options: the model; flags have the descriptions and show the defaults of its fields.
        arguments: names of the fields that are arguments and not flags.
    """
    return {
        name: inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=_annotation(name, field, is_argument=name in arguments),
        )
        for name, field in options.model_fields.items()
    }


def given(flags: Mapping[str, Any], options: type[BaseModel]) -> dict[str, Any]:
    """The flags that were given, as values of the model's fields."""
    return {
        name: split(flag) if _is_list(options.model_fields[name].annotation) else flag
        for name, flag in flags.items()
        if flag is not None
    }


def split(text: str) -> tuple[str, ...]:
    """The parts of a flag that lists names, separated by commas.

    Example:
        >>> split("lime, random")
        ('lime', 'random')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _annotation(name: str, field: Any, *, is_argument: bool) -> Any:
    is_list = _is_list(field.annotation)
    help = field.description + " Separate with commas." * is_list
    if isinstance(field.default, int | float | str) and field.default is not False:
        help += f" Default: {field.default}."
    kind = str if is_list else _plain_type(field.annotation)
    # Without its name typer would add "--no-counterfactuals".
    names = (f"--{name.replace('_', '-')}",) if not is_argument else ()
    described = typer.Argument if is_argument else typer.Option
    return Annotated[kind | None, described(*names, help=help, show_default=False)]


def _plain_type(annotation: Any) -> Any:
    """The type of a field, without None."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    return annotation


def _is_list(annotation: Any) -> bool:
    plain = _plain_type(annotation)
    return get_origin(plain) is tuple or get_origin(getattr(plain, "__origin__", None)) is tuple
