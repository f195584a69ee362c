"""Draws of t: where in their boxes rows are looked at in each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

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
            features; "corners" of the box; "graded" corners, with from none to all of the features
            at their far ends, as when a mask grows; "adversarial" starts from corners too.
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
    generator = Generator(like.device).manual_seed(seed)

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
