"""How strong the axioms are, and how often they cry wolf.

    python benchmarks/axioms.py false-alarms --seeds 20 --examples 200
    python benchmarks/axioms.py power
    python benchmarks/axioms.py matrix --processes 2

`false-alarms` checks explainers that are right by construction, and our own, with many seeds;
`power` sets the planted offenders before the axioms meant for them; `matrix` times all registered
explainers. Each prints what it found and exits with 1 if that is not what it should be.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Explainers that are right, and those that are wrong in one thing, belong to the tests.
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "axioms")]

# Fitted, or solved in many steps, anew for every model: a fortieth of the cases.
OURS = (
    "fimap", "fimap_as_fitted", "fimap_check", "fimap_put_back", "fimap_local_search",
    "invariant_box", "invariant_box_exit",
)  # fmt: skip
OURS_SHARE = 40
SECONDS_ALLOWED = 10.0


def false_alarms(seeds: int, examples: int) -> bool:
    """Count the axioms that are called broken although they are kept."""
    from references import REFERENCES

    from xai_adapters.axioms import check_explainer, registered

    found = Counter[str]()
    for tested in [*REFERENCES, *map(registered, OURS)]:
        start, tried = time.perf_counter(), 0
        n = max(3, examples // OURS_SHARE) if tested.name in OURS else examples
        for seed in range(seeds):
            for record in check_explainer(
                tested, on_fail=None, max_examples=n, seed=seed, timeout=None
            ):
                tried += record.examples
                found[tested.name] += record.failed
                if record.failed:
                    print(f"seed {seed}: {record}\n", flush=True)
        print(
            f"{tested.name:22} {seeds} seeds x {n} examples, {tried:8,} cases in all: "
            f"{found[tested.name]} false alarms, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return not any(found.values())


def power(examples: int) -> bool:
    """Set every planted offender before its axiom."""
    import offenders

    from xai_adapters.axioms import AXIOMS
    from xai_adapters.axioms.engine import check_axiom

    every = [
        each
        for module in pkgutil.iter_modules(offenders.__path__)
        for each in getattr(importlib.import_module(f"offenders.{module.name}"), "OFFENDERS", [])
    ]
    caught, slowest = 0, 0.0
    for each in every:
        record = check_axiom(AXIOMS[each.axiom], each.explainer, max_examples=examples)
        in_time = record.seconds <= SECONDS_ALLOWED
        caught += record.failed and in_time
        slowest = max(slowest, record.seconds)
        if not (record.failed and in_time):
            print(f"not caught in {SECONDS_ALLOWED:g} s: {each!r}, {record.seconds:.1f} s")
    print(f"{caught} of {len(every)} offenders caught, the slowest in {slowest:.1f} s")
    return caught == len(every)


def matrix(processes: int) -> bool:
    """Time the matrix of all registered explainers."""
    from rich.console import Console

    from xai_adapters.axioms.matrix import check_matrix, print_matrix
    from xai_adapters.registry import explainer_names

    start = time.perf_counter()
    records = check_matrix(explainer_names(), n_processes=processes)
    seconds = time.perf_counter() - start
    print_matrix(records, Console(width=200))
    print(f"\n{len(records)} checks in {seconds:.0f} s with {processes} processes")
    return seconds <= 300


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("false-alarms", "power", "matrix"))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--examples", type=int, default=None)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.what == "false-alarms":
        good = false_alarms(given.seeds, given.examples or 200)
    elif given.what == "power":
        good = power(given.examples or 100)
    else:
        good = matrix(given.processes)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
