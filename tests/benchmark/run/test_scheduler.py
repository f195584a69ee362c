import pytest

from xai_adapters.benchmark.run.blocks import Block
from xai_adapters.benchmark.run.scheduler import Job, Scheduler


@pytest.mark.parametrize("order", [("block", "row_by_row"), ("row_by_row", "block")])
def test_what_ended_the_blocks_is_told_in_whatever_order_the_ends_come(order):
    blocks = [Block("stuck", 0, first, first + 2) for first in (0, 2, 4)]
    row_by_row = Block("stuck", 0, 0, 6, row_by_row=True)
    job = Job("stuck", 0, blocks, row_by_row)
    scheduler = Scheduler([job], time_limit=5, fit_limit=60)
    blocks_of = {"block": blocks[1], "row_by_row": row_by_row}
    for block in blocks_of.values():
        job.pending.remove(block)
    for name in order:
        scheduler.ended(job, blocks_of[name], "explain")
    assert job.cut_short == "took longer than 5 s to explain rows 2 to 3, and was ended"
    assert not job.pending


@pytest.mark.parametrize("order", [(3, 4), (4, 3)])
def test_of_several_seeds_that_fail_the_first_is_told_in_whatever_order_they_fail(order):
    blocks_of = {seed: Block("deadly", seed, 0, 7) for seed in (3, 4)}
    jobs = {seed: Job("deadly", seed, [block], None) for seed, block in blocks_of.items()}
    scheduler = Scheduler(list(jobs.values()), time_limit=5, fit_limit=60)
    for job in jobs.values():
        job.pending.clear()
    for seed in order:
        scheduler.settle(jobs[seed], blocks_of[seed], ("error", "its process ended"))
    assert scheduler.failure("deadly") == ("error", "its process ended (seed 3)")
    assert scheduler.failure("another") is None
