from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from xai_adapters.benchmark.metrics.masking import (
    THRESHOLDS,
    Fill,
    filling,
    masked_answers,
    relevance_ranks,
)

SMALL_INTEGERS = st.integers(-3, 3)


@given(st.lists(SMALL_INTEGERS, min_size=6, max_size=6), st.integers(0, 100), st.booleans())
@example([0, 0, 0, 0, 0, 3], 0, False)
def test_rounding_breaks_no_ties(values: list[int], seed: int, by_magnitude: bool) -> None:
    scores = torch.tensor(values, dtype=torch.float32).view(1, 1, 2, 3)
    noise = 2 * torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed)) - 1
    noisy = scores + 1e-7 * scores.abs().max() * noise
    exact, found = (relevance_ranks(each, by_magnitude=by_magnitude) for each in (scores, noisy))
    assert torch.equal(found, exact)


@st.composite
def score_maps(draw: st.DrawFn) -> Tensor:
    shape = draw(st.tuples(*(st.integers(1, 3) for _ in range(4))))
    size = torch.Size(shape).numel()
    values = draw(st.lists(SMALL_INTEGERS, min_size=size, max_size=size))
    return torch.tensor(values, dtype=torch.float32).view(shape)


def brightness(images: Tensor) -> Tensor:
    return images.mean(dim=(1, 2, 3))


@given(score_maps(), st.booleans())
def test_ranks_are_a_permutation_in_the_order_of_relevance(scores: Tensor, by_magnitude: bool):
    ranks = relevance_ranks(scores, by_magnitude=by_magnitude)
    relevance = (scores.abs() if by_magnitude else scores).mean(dim=1).flatten(1)
    for of_image, rank in zip(relevance.tolist(), ranks.tolist(), strict=True):
        assert sorted(rank) == list(range(len(rank)))
        in_order = [of_image[rank.index(place)] for place in range(len(rank))]
        assert in_order == sorted(in_order)


def test_equal_scores_do_not_profit_from_where_their_pixels_lie():
    ranks = relevance_ranks(torch.zeros(2, 1, 10, 10), by_magnitude=False)
    assert torch.equal(ranks[0], ranks[1])
    correlation = torch.corrcoef(torch.stack((ranks[0].double(), torch.arange(100.0).double())))
    assert correlation[0, 1].abs() < 0.3


FILLINGS: dict[Fill | float, Callable[[Tensor], Tensor]] = {
    0.25: lambda image: torch.full_like(image, 0.25),
    "gray": lambda image: torch.full_like(image, 0.5),
    "black": torch.zeros_like,
    "white": torch.ones_like,
    "mean": lambda image: torch.stack([torch.full_like(each, each.mean()) for each in image]),
}


@given(score_maps(), st.integers(1, 5), st.sampled_from(list(FILLINGS)), st.booleans())
def test_answers_equal_masking_pixel_by_pixel(
    scores: Tensor, batch_size: int, fill: Fill | float, most_relevant_first: bool
):
    images = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0))
    ranks = relevance_ranks(scores, by_magnitude=False)
    found = masked_answers(
        brightness, images, ranks, fill=fill, batch_size=batch_size,
        most_relevant_first=most_relevant_first,
    )  # fmt: skip
    n_pixels, width = ranks.shape[1], images.shape[3]
    for i, image in enumerate(images):
        filled = FILLINGS[fill](image)
        for j, share in enumerate(THRESHOLDS):
            masked = image.clone()
            for pixel, rank in enumerate(ranks[i].tolist()):
                place = n_pixels - 1 - rank if most_relevant_first else rank
                if place < round(share * n_pixels):
                    at = pixel // width, pixel % width
                    masked[:, at[0], at[1]] = filled[:, at[0], at[1]]
            assert found[i, j].item() == pytest.approx(brightness(masked[None]).item(), abs=1e-6)


def test_nothing_masked_is_the_image_and_everything_masked_is_the_fill():
    images = torch.rand(3, 2, 4, 4)
    ranks = relevance_ranks(torch.zeros_like(images), by_magnitude=False)
    answers = masked_answers(lambda some: some, images, ranks, fill="mean")
    assert answers.shape == (3, len(THRESHOLDS), 2, 4, 4)
    assert torch.equal(answers[:, 0], images)
    assert torch.equal(answers[:, -1], filling(images, "mean").expand_as(images))


@pytest.mark.parametrize("shape", [(3, 17, 30), (1, 2, 2), (1, 1, 5)])
def test_a_blur_keeps_what_is_even_and_takes_shapes_away(shape: tuple[int, int, int]):
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    blurred = filling(images, "blur")
    assert blurred.shape == images.shape
    assert blurred.std() < images.std()
    even = torch.full_like(images, 0.3)
    assert filling(even, "blur").sub(even).abs().max() < 1e-6
    # Channels and images stay apart.
    images[0, 0] = 0
    assert filling(images, "blur")[0, 0].abs().max() == 0


def test_a_blur_is_a_gaussian_mean_along_each_axis():
    row = torch.zeros(1, 1, 1, 41)
    row[..., 20] = 1
    found = filling(row, "blur")[0, 0, 0]
    at = torch.arange(41.0) - 20
    kernel = torch.where(at.abs() <= 8, (-(at**2) / (2 * 4.1**2)).exp(), 0.0)
    assert torch.allclose(found, kernel / kernel.sum(), atol=1e-6)
