"""FIMAP's seconds on half-moons: fitting 8,000 rows, explaining 2,000, beside LIME in one run.

    OMP_NUM_THREADS=1 python benchmarks/fimap_speed.py

The times are of one core if torch is given one thread, as above. The forward pass is `perturb` with
the target known, which is what the paper times; with `target="other"` the surrogate is asked for
the class to leave first. LIME explains a sample of the rows, and its seconds are scaled up.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from lime.lime_tabular import LimeTabularExplainer
from sklearn.datasets import make_moons
from sklearn.ensemble import RandomForestClassifier

from xai_adapters import BlackBox, MinimalPerturbation

N_LIME_ROWS = 50


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    X, y = make_moons(10_000, noise=0.2, random_state=0)
    X = X.astype("float32")
    rows, training = torch.from_numpy(X[8000:]), torch.from_numpy(X[:8000])
    forest = RandomForestClassifier(200, random_state=0).fit(X[:8000], y[:8000])
    box = BlackBox(forest)
    explainer = MinimalPerturbation()

    fit = seconds(lambda: explainer.fit(training, box), repeats=3)
    predicted = box.labels(rows)
    known = seconds(lambda: explainer.perturb(rows, 1 - predicted, origin=predicted), repeats=50)
    other = seconds(lambda: explainer.perturb(rows), repeats=50)
    checked = seconds(lambda: explainer.perturb(rows, black_box=box), repeats=3)
    lime = LimeTabularExplainer(X[:8000], discretize_continuous=False, random_state=0)
    start = time.perf_counter()
    for row in X[8000 : 8000 + N_LIME_ROWS]:
        lime.explain_instance(row, forest.predict_proba, num_features=2)
    lime_seconds = (time.perf_counter() - start) / N_LIME_ROWS * len(rows)

    found = explainer.perturb(rows, black_box=box)
    assert found.success is not None
    recovered = (found.class_before == predicted).double().mean()
    fooled = (found.class_after != predicted).double().mean()
    for what, value in (
        ("torch threads", f"{torch.get_num_threads()}"),
        ("fit 8,000 rows, the forest's answers included", f"{fit:.2f} s"),
        ("explain 2,000 rows, target known", f"{known * 1e3:.2f} ms"),
        ("explain 2,000 rows, nearest other class", f"{other * 1e3:.2f} ms"),
        ("explain 2,000 rows and ask the forest", f"{checked * 1e3:.1f} ms"),
        (f"LIME, 2,000 rows (from {N_LIME_ROWS})", f"{lime_seconds:.1f} s"),
        ("LIME over the forward pass", f"{lime_seconds / known:,.0f} times"),
        ("recovery accuracy", f"{recovered:.3f}"),
        ("adversarial accuracy (surrogate)", f"{fooled:.3f}"),
        ("validity (forest)", f"{found.success.double().mean():.3f}"),
    ):
        print(f"{what:46} {value:>12}")


if __name__ == "__main__":
    main()
