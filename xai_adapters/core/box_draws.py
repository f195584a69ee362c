"""Draws of t: where in their boxes rows are looked at in each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from xai_adapters.errors import InvalidInputError

DrawsName = Literal["uniform", "antithetic", "sobol", "corners", "graded", "patches", "adversarial"]
# torch has no direction numbers beyond.
_MOST_SOBOL_FEATURES = torch.quasirandom.SobolEngine.MAXDIM
# The largest patches that move as one are so many to a side of an image.
_FEWEST_PATCHES = 7


def check_draws(name: str) -> None:
    """Raise `InvalidInputError` unless `name` is a `DrawsName`."""
    if name not in get_args(DrawsName):
        raise InvalidInputError(
            f"draws must be one of {', '.join(get_args(DrawsName))}; it is {name!r}"
        )


def box_draws(name: DrawsName, n: int, like: Tensor, seed: int) -> Callable[[], Tensor]:
    """A function that gives n new draws (n, ...) from [0, 1]^d each time it is called.

    The rows share them, so that a row's result does not depend on its neighbours.

    Args:
        name: "uniform"; "antithetic", in pairs u and 1 - u, which cancel what is linear in u;
            "sobol", scrambled points that fill the box evenly (Owen 1998), for up to 21,201
            features; "corners" of the box; "graded" corners, with from none to all of the features
            at their far ends, as when a mask grows; "patches" of an image (channels, height, width)
            that move as one, of all sizes by turns and at random places: its networks are told
            more by what neighbours do together; "adversarial" starts from corners too.
        n: draws in each call.
        like: (n, ...) rows, whose shape, device and dtype the draws have.
        seed: of the draws.

    Raises:
        InvalidInputError: for more features than Sobol points have, and for patches of what is no
            image.

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
    generator = Generator(like.device).manual_seed(seed)
    if name == "patches":
        return _patches(n, like, generator, seed)

    def uniform(m: int = n) -> Tensor:
        return like.new_empty(m, *shape).uniform_(generator=generator)

    def antithetic() -> Tensor:
        half = uniform((n + 1) // 2)
        return torch.cat((half, 1 - half))[:n]

    def corners() -> Tensor:
        return uniform().round_()

    def graded() -> Tensor:
        # One share from each of n equal parts of [0, 1], so that every draw sees all of them.
        part = torch.arange(n, device=like.device, dtype=like.dtype)
        share = (part + like.new_empty(n).uniform_(generator=generator)) / n
        return (uniform() < share.view(-1, *(1,) * len(shape))).to(like.dtype)

    named = {"uniform": uniform, "antithetic": antithetic, "graded": graded}
    return named.get(name, corners)


def _patches(n: int, like: Tensor, generator: Generator, seed: int) -> Callable[[], Tensor]:
    """Uniform values for the squares of a grid, the same in all channels of an image."""
    if like.ndim != 4:
        raise InvalidInputError(
            "patches are of images (n, channels, height, width); the rows have shape "
            f"{tuple(like.shape)}"
        )
    height, width = like.shape[2:]
    # Of places, on the processor: numbers that an accelerator drew would have to be waited for.
    places = Generator().manual_seed(seed)
    sides = [1]
    while 2 * sides[-1] * _FEWEST_PATCHES <= min(height, width):
        sides.append(2 * sides[-1])

    def image(side: int) -> Tensor:
        # One square more than fits, so that the grid can begin anywhere within a square.
        down, across = (length // side + 2 for length in (height, width))
        squares = like.new_empty(1, down, across).uniform_(generator=generator)
        top, left = torch.randint(side, (2,), generator=places).tolist()
        fine = squares.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)
        return fine[:, top : top + height, left : left + width]

    def draw() -> Tensor:
        found = torch.stack([image(sides[k % len(sides)]) for k in range(n)])
        return found.expand(n, *like.shape[1:])

    return draw
