"""How large the report of 100 photographs is, and how long a browser takes to open it.

    python benchmarks/report_opening.py --explainers 20 --times 5

The report is of made-up maps of the size that a run keeps. Chromium opens it without a cache and
without a window; what is told is the time from the start of the navigation to the end of the load
event, all scripts run and all plots drawn, and to the first image drawn by the browser of images.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from torch.nn.functional import interpolate

from xai_adapters.benchmark.metrics import THRESHOLDS, metric_facts
from xai_adapters.benchmark.report import render
from xai_adapters.benchmark.results import (
    MAP_SIDE,
    Agreement,
    Curve,
    ExplainerRun,
    Gallery,
    Results,
)
from xai_adapters.benchmark.results import Measurement as Mean

LOADED = """
<script>addEventListener("load", () => {
  const [opened] = performance.getEntriesByType("navigation");
  document.documentElement.dataset.interactive = opened.domInteractive;
  document.documentElement.dataset.loaded = performance.now();
});</script></body>
"""


def results(n_rows: int, n_explainers: int) -> Results:
    """A run of so many explainers on so many photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n_rows, 3, 56, 56, generator=generator)
    gallery = Gallery(interpolate(coarse, size=(224, 224)), ["a dog (98%)"] * n_rows)
    made = Results(
        task={"name": "photographs", "description": "Made up.", "mask_value": 0.5},
        settings={"seed": 0},
        environment={},
        metrics={name: vars(metric_facts()[name]) for name in ("masking_curve", "masking_area")},
        gallery=gallery,
    )
    names = [f"explainer_{i}" for i in range(n_explainers)]
    for i, name in enumerate(names):
        made.explainers.append(ExplainerRun(name, "Made up", "none", "ok", n_rows=n_rows))
        made.measurements.append(Mean(name, "masking_area", i / 20, 0.01, i / 20, i / 20, n_rows))
        values = torch.rand(len(THRESHOLDS), generator=generator).tolist()
        made.curves.append(Curve(name, "masking_curve", list(THRESHOLDS), values, values, values))
        gallery.maps[name] = torch.randn(n_rows, MAP_SIDE, MAP_SIDE, generator=generator)
        gallery.signed[name] = True
    alike = torch.rand(n_explainers, n_explainers, generator=generator).tolist()
    made.agreement = [Agreement("rank correlation", "Made up.", names, alike)]
    return made


def opened(page: Path, browser: str, profile: Path) -> dict[str, float]:
    """Milliseconds until the page could be used, and until all was loaded and drawn."""
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={profile}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=True,
    )
    return {
        name: float(value)
        for name, value in re.findall(r'data-(interactive|loaded)="([\d.]+)"', done.stdout)
    }


def main() -> None:
    """Make the report, open it, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--explainers", type=int, default=20)
    parser.add_argument("--times", type=int, default=5)
    wanted = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if browser is None:
        raise SystemExit("there is no chromium or chrome on the PATH")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        page, made = folder / "report.html", results(wanted.rows, wanted.explainers)
        page.write_text(render(made), encoding="utf-8")
        print(f"{page.stat().st_size / 1e6:.1f} MB for {wanted.rows} images")
        text = page.read_text(encoding="utf-8").replace("</body>", LOADED)
        page.write_text(text, encoding="utf-8")
        found = [opened(page, browser, folder / f"profile-{i}") for i in range(wanted.times)]
        for name in ("interactive", "loaded"):
            times = [each[name] / 1000 for each in found]
            print(f"{name}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")


if __name__ == "__main__":
    main()
