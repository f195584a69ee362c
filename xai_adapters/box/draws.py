"""Draws of t: where in their boxes rows are looked at in each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Generator, Size, Tensor

from xai_adapters.errors import InvalidInputError

SharedDrawsName = Literal["uniform", "antithetic", "sobol", "corners", "graded", "adversarial"]
DrawsName = Literal[SharedDrawsName, "tilted", "faded"]
# torch has no direction numbers beyond.
_MOST_SOBOL_FEATURES = torch.quasirandom.SobolEngine.MAXDIM


def check_draws(name: str) -> None:
    """Raise `InvalidInputError` unless `name` is a `DrawsName`."""
    if name not in get_args(DrawsName):
        raise InvalidInputError(
            f"draws must be one of {', '.join(get_args(DrawsName))}; it is {name!r}"
        )


def box_draws(name: SharedDrawsName, n: int, like: Tensor, seed: int) -> Callable[[], Tensor]:
    """A function that gives n new draws (n, ...) from [0, 1]^d each time it is called.

    The rows share them, so that a row's result does not depend on its neighbours.

    Args:
        name: "uniform"; "antithetic", in pairs u and 1 - u, which cancel what is linear in u;
            "sobol", scrambled points that fill the box evenly (Owen 1998), for up to 21,201
            features; "corners" of the box; "graded" corners, those of `graded_masks`; "adversarial"
            starts from corners too.
        n: draws in each call.
        like: (n, ...) rows, whose shape, device and dtype the draws have.
        seed: of the draws.

    Raises:
        InvalidInputError: for more features than Sobol points have.

    Example:
        >>> draw = box_draws("antithetic", 4, torch.zeros(1, 2), seed=0)
        >>> draw().mean(dim=0).tolist()
        [0.5, 0.5]
    """
    shape = like.shape[1:]
    if name == "sobol":
        if shape.numel() > _MOST_SOBOL_FEATURES:
            raise InvalidInputError(
                f"sobol draws have at most {_MOST_SOBOL_FEATURES:,} features, and rows have "
                f"{shape.numel():,}; antithetic draws have no such limit"
            )
        engine = torch.quasirandom.SobolEngine(shape.numel(), scramble=True, seed=seed)
        return lambda: engine.draw(n, dtype=like.dtype).to(like.device).view(n, *shape)
    uniform = uniform_numbers(like, seed)

    def antithetic() -> Tensor:
        half = uniform((n + 1) // 2, *shape)
        return torch.cat((half, 1 - half))[:n]

    named = {
        "uniform": lambda: uniform(n, *shape),
        "antithetic": antithetic,
        "graded": lambda: graded_masks(n, shape, uniform).to(like.dtype),
    }
    return named.get(name, lambda: uniform(n, *shape).round_())


def uniform_numbers(like: Tensor, seed: int) -> Callable[..., Tensor]:
    """A function that gives new numbers from [0, 1) of a shape, on the device of `like`."""
    generator = Generator(like.device).manual_seed(seed)
    return lambda *shape: like.new_empty(shape).uniform_(generator=generator)


def from_each_part(n: int, k: int, uniform: Callable[..., Tensor]) -> Tensor:
    """(n, k) numbers; in each column there is one from each of n equal parts of [0, 1].

    Example:
        >>> numbers = from_each_part(4, 2, uniform_numbers(torch.zeros(0), seed=0))
        >>> (4 * numbers).floor().sort(dim=0).values.T.tolist()
        [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]
    """
    return (uniform(n, k).argsort(dim=0) + uniform(n, k)) / n


def graded_masks(n: int, shape: Size, uniform: Callable[..., Tensor]) -> Tensor:
    """(n, ...) masks of rows of that shape that hide from none to all of the features.

    The shares hidden are one from each of n equal parts of [0, 1]. Rows (channels, height, width),
    or with one dimension more, are images: a pixel is hidden in all its channels.
    """
    places = (1, *shape[1:]) if is_image(shape) else shape
    share = from_each_part(n, 1, uniform).view(-1, *(1,) * len(shape))
    return (uniform(n, *places) < share).expand(n, *shape)


def is_image(shape: Size) -> bool:
    """Whether the first dimension of rows of that shape is channels."""
    return len(shape) > 2
