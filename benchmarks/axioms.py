"""How strong the axioms are, and how often they cry wolf.

    python benchmarks/axioms.py false-alarms --seeds 20 --examples 200 [--brief]
    python benchmarks/axioms.py power
    python benchmarks/axioms.py matrix --processes 2

`false-alarms` checks explainers that are right by construction, and our own, with many seeds. Each
case of ours is a fit or a search of its own, so as registered they are checked on a fortieth of the
cases, and with `--brief` on all of them, with fits and searches of a few steps: an axiom that is
called broken then is checked on all of its cases as registered, and an alarm is what remains.
`power` sets the planted offenders before the axioms meant for them; `matrix` times all registered
explainers. Each prints what it found and exits with 1 if that is not what it should be.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xai_adapters.axioms import Explainer

ROOT = Path(__file__).parent.parent
# Explainers that are right, and those that are wrong in one thing, belong to the tests.
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "axioms")]

# `directed_box` needs an image, and claims nothing of the axioms' models.
OURS = (
    "fimap", "fimap_as_fitted", "fimap_line_search", "fimap_sparsify", "fimap_local_search",
    "invariant_box", "invariant_box_counterfactual",
)  # fmt: skip
OURS_SHARE = 40
BRIEF_FIT = {
    "epochs": 2, "query_rounds": 1, "surrogate_widths": (20,), "perturber_widths": (20,),
}  # fmt: skip
# These ask how much was learned of a model, of which a few steps learn too little.
SANITY = ("model_randomization", "label_randomization")
# Larger steps, so that a width can still grow to its bound.
BRIEF_SEARCH = {"n_steps": 20, "n_draws": 8, "step_size": 0.15, "tolerance": 0}
BRIEF_LOCAL = {"local_search": 60}
SECONDS_ALLOWED = 10.0


def in_brief(name: str, subject: Any) -> Any:
    """One of ours, made with few steps or queries."""
    from xai_adapters.registry import explainer_entry

    make = explainer_entry(name).load()
    if name == "invariant_box_counterfactual":
        return make(subject, surrogate=BRIEF_FIT, **BRIEF_SEARCH)
    made = make(subject, **({} if name == "invariant_box" else BRIEF_FIT))
    if name == "invariant_box":
        return replace(made, options={**made.options, **BRIEF_SEARCH})
    if name == "fimap_local_search":
        return replace(made, search={**made.search, **BRIEF_LOCAL})
    return made


def tested(name: str, brief: bool) -> Explainer:
    """A reference, or one of ours, by its name."""
    from references import REFERENCES

    from xai_adapters.axioms import registered

    known = {reference.name: reference for reference in REFERENCES}
    if name in known:
        return known[name]
    ours = registered(name)
    if not brief:
        return ours
    claims = {axiom: claim for axiom, claim in ours.claims.items() if axiom not in SANITY}
    return replace(ours, make=partial(in_brief, name), claims=claims)


def alarms(name: str, seed: int, examples: int, brief: bool) -> tuple[int, list[str], float]:
    """One explainer with one seed: cases tried, the axioms called broken, and seconds."""
    from xai_adapters.axioms import check_explainer

    start = time.process_time()
    settings = {"on_fail": None, "max_examples": examples, "seed": seed, "timeout": None}
    records = check_explainer(tested(name, brief), **settings)
    failed = [record for record in records if record.failed]
    tried = sum(record.examples for record in records)
    if brief and failed:
        # Few steps may end too far from what is promised.
        suspects = [record.axiom for record in failed]
        again = check_explainer(tested(name, brief=False), suspects, **settings)
        failed = [record for record in again if record.failed]
        tried += sum(record.examples for record in again)
        print(f"{name}, seed {seed}: as registered too: {', '.join(suspects)}", flush=True)
    return tried, [f"{record}\n" for record in failed], time.process_time() - start


def false_alarms(names: list[str], seeds: int, examples: int, processes: int, brief: bool) -> bool:
    """Count the axioms that are called broken although they are kept."""
    good = True
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for name in names:
            n = examples
            if name in OURS and not brief:
                n = max(3, examples // OURS_SHARE)
            each = [(name, seed, n, brief) for seed in range(seeds)]
            tried, broken, seconds = 0, 0, 0.0
            checked = pool.map(alarms, *zip(*each, strict=True))
            for seed, (cases, failed, spent) in enumerate(checked):
                tried, broken, seconds = tried + cases, broken + len(failed), seconds + spent
                print(
                    f"{name}, seed {seed}: {cases:,} cases, {len(failed)} alarms, {spent:.0f} s",
                    *failed, sep="\n", flush=True,
                )  # fmt: skip
            print(
                f"{name:22} {seeds} seeds x {n} examples, {tried:8,} cases in all: "
                f"{broken} false alarms, {seconds:.0f} s of processor time",
                flush=True,
            )
            good &= not broken
    return good


def power(examples: int) -> bool:
    """Set every planted offender before its axiom."""
    import offenders

    from xai_adapters.axioms import AXIOMS, check_axiom

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

    from xai_adapters.axioms import check_matrix, print_matrix
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
    parser.add_argument("--explainers", help="some of those of false-alarms, with commas between")
    parser.add_argument("--brief", action="store_true", help="ours with few steps")
    given = parser.parse_args()
    if given.what == "false-alarms":
        from references import REFERENCES

        names = [*(reference.name for reference in REFERENCES), *OURS]
        if given.explainers:
            names = given.explainers.split(",")
        examples = given.examples or 200
        good = false_alarms(names, given.seeds, examples, given.processes, given.brief)
    elif given.what == "power":
        good = power(given.examples or 100)
    else:
        good = matrix(given.processes)
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
