"""What the masking curve costs beside the forward passes that it cannot do without.

    python benchmarks/masking_cost.py --images 100

Times, in seconds of the processor, the curve of random scores on images of 3 x 224 x 224 with 21
thresholds and SqueezeNet 1.1, and as many bare forward passes of images that are masked already.
Exits with 1 if the curve costs more than 1.1 times as much.
"""

from __future__ import annotations

import argparse
import time

import torch

from xai_adapters.benchmark.metrics import THRESHOLDS, masked_answers, relevance_ranks
from xai_adapters.benchmark.tasks import SqueezeNet

ALLOWED = 1.1
BATCH = 64


def main() -> None:
    """Print both times and their ratio, the least of several."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = SqueezeNet().eval()
    images = torch.rand(wanted.images, 3, 224, 224)
    scores = torch.rand_like(images)

    def ask(some: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            outputs: torch.Tensor = network(some)
        return outputs

    def curve() -> None:
        ranks = relevance_ranks(scores, by_magnitude=False)
        masked_answers(ask, images, ranks, fill=0.5, batch_size=BATCH)

    def bare() -> None:
        n_passes = wanted.images * len(THRESHOLDS)
        batch = images[:BATCH].repeat(-(-BATCH // len(images[:BATCH])), 1, 1, 1)
        for start in range(0, n_passes, BATCH):
            ask(batch[: min(BATCH, n_passes - start)])

    ratios = []
    for _ in range(wanted.repeats):
        seconds = []
        for what in (bare, curve):
            start = time.process_time()
            what()
            seconds.append(time.process_time() - start)
        ratios.append(seconds[1] / seconds[0])
        print(f"bare {seconds[0]:.2f} s, curve {seconds[1]:.2f} s: {ratios[-1]:.3f} times")
    print(f"least: {min(ratios):.3f} times the bare passes; {ALLOWED} are allowed")
    raise SystemExit(min(ratios) > ALLOWED)


if __name__ == "__main__":
    main()
