import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from xai_adapters.benchmark.masking_curve import THRESHOLDS, changed_decisions, relevance_ranks

SMALL_INTEGERS = st.integers(-3, 3)


@st.composite
def score_maps(draw: st.DrawFn) -> Tensor:
    shape = draw(st.tuples(*(st.integers(1, 3) for _ in range(4))))
    size = torch.Size(shape).numel()
    values = draw(st.lists(SMALL_INTEGERS, min_size=size, max_size=size))
    return torch.tensor(values, dtype=torch.float32).view(shape)


def brightness_class(images: Tensor) -> Tensor:
    return (images.mean(dim=(1, 2, 3)) > 0.25).long()


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


@given(score_maps(), st.integers(1, 5))
def test_curve_equals_masking_pixel_by_pixel(scores: Tensor, batch_size: int):
    images = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0))
    ranks = relevance_ranks(scores, by_magnitude=False)
    changed = changed_decisions(brightness_class, images, ranks, fill=0.0, batch_size=batch_size)
    width = images.shape[3]
    for i, image in enumerate(images):
        for j, share in enumerate(THRESHOLDS):
            masked = image.clone()
            for pixel, rank in enumerate(ranks[i].tolist()):
                if rank < round(share * ranks.shape[1]):
                    masked[:, pixel // width, pixel % width] = 0.0
            both = brightness_class(torch.stack((image, masked)))
            assert bool(changed[i, j]) == (both[0] != both[1]).item()


def test_nothing_masked_changes_nothing_and_everything_masked_is_the_fill():
    images = torch.ones(3, 2, 4, 4)
    ranks = relevance_ranks(torch.zeros_like(images), by_magnitude=False)
    changed = changed_decisions(brightness_class, images, ranks, fill=0.0)
    assert changed.shape == (3, len(THRESHOLDS))
    assert not changed[:, 0].any()
    assert changed[:, -1].all()
