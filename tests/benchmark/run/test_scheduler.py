import pytest

from xai_adapters.benchmark.run.blocks import Unit
from xai_adapters.benchmark.run.scheduler import Dealer, Lane


@pytest.mark.parametrize("order", [("block", "alone"), ("alone", "block")])
def test_what_ended_the_blocks_is_told_in_whatever_order_the_ends_come(order):
    blocks = [Unit("stuck", 0, first, first + 2) for first in (0, 2, 4)]
    alone = Unit("stuck", 0, 0, 6, alone=True)
    lane = Lane("stuck", 0, blocks, alone)
    dealer = Dealer([lane], time_limit=5, fit_limit=60)
    units = {"block": blocks[1], "alone": alone}
    for unit in units.values():
        lane.pending.remove(unit)
    for name in order:
        dealer.ended(lane, units[name], "explain")
    assert lane.cut_short == "took longer than 5 s to explain rows 2 to 3, and was ended"
    assert not lane.pending


@pytest.mark.parametrize("order", [(3, 4), (4, 3)])
def test_of_several_seeds_that_fail_the_first_is_told_in_whatever_order_they_fail(order):
    units = {seed: Unit("deadly", seed, 0, 7) for seed in (3, 4)}
    lanes = {seed: Lane("deadly", seed, [unit], None) for seed, unit in units.items()}
    dealer = Dealer(list(lanes.values()), time_limit=5, fit_limit=60)
    for lane in lanes.values():
        lane.pending.clear()
    for seed in order:
        dealer.settle(lanes[seed], units[seed], ("error", "its process ended"))
    assert dealer.failure("deadly") == ("error", "its process ended (seed 3)")
    assert dealer.failure("another") is None
