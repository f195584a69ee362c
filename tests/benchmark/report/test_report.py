from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from xai_adapters.benchmark.report.arrows import arrow_figure
from xai_adapters.benchmark.report.axiom_table import read_axioms
from xai_adapters.benchmark.report.colors import color_indices, palette
from xai_adapters.benchmark.report.pictures import data_uri
from xai_adapters.benchmark.report.report import render
from xai_adapters.benchmark.results.files import write_results
from xai_adapters.benchmark.results.gallery import MAP_SIDE, Gallery
from xai_adapters.benchmark.results.results import Agreement, Examples, Results
from xai_adapters.errors import ResultsFolderError

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or chrome on the PATH")


def browse(page: Path) -> tuple[str, list[str]]:
    """The document after its scripts ran without a network, and what the console had to say."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={page.parent / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    # The report writes nothing to the console, so every line there is a complaint.
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def browse_with_script(html: str, script: str, folder: Path) -> tuple[str, list[str]]:
    page = folder / "page.html"
    page.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return browse(page)


class References(HTMLParser):
    """Every address that a browser would fetch on opening the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "srcset", "data", "poster"} or (tag, name) == ("link", "href"):
                self.found.append(value or "")


def references(html: str) -> list[str]:
    parser = References()
    parser.feed(html)
    return [address for address in parser.found if not address.startswith("data:")]


def order(dom: str) -> list[str]:
    return re.findall(r'<th scope="row" data-value="([^"]*)"', dom)


@needs_chromium
def test_opens_without_network_and_complaints(results: Results, tmp_path: Path) -> None:
    write_results(results, tmp_path, render(results))
    dom, complaints = browse(tmp_path / "report.html")
    assert complaints == []
    assert dom.count('<svg class="main-svg"') >= 1
    assert dom.count('class="scatterlayer') == 1
    assert dom.count('class="trace scatter') >= 5
    assert order(dom) == ["greedy", "saliency", "fimap", "random", "lime", "lrp"]
    assert dom.count('<img alt="') == 2 * (1 + 5)


@needs_chromium
def test_arrows_are_drawn(table_results: Results, tmp_path: Path) -> None:
    gallery = table_results.gallery
    gallery.rows = gallery.rows[:, :2]
    gallery.maps = {name: scores[:, :2] for name, scores in gallery.maps.items()}
    write_results(table_results, tmp_path, render(table_results))
    dom, complaints = browse(tmp_path / "report.html")
    assert complaints == []
    assert dom.count('class="scatterlayer') == 5


@needs_chromium
@pytest.mark.parametrize(
    "planted",
    [
        "<script>console.error('planted')</script>",
        "<script>undefinedFunction()</script>",
        "<img src='https://example.org/planted.png'>",
    ],
)
def test_complaints_are_noticed(planted: str, results: Results, tmp_path: Path) -> None:
    results.curves = []
    page = tmp_path / "page.html"
    page.write_text(render(results).replace("</body>", f"{planted}</body>"), encoding="utf-8")
    assert browse(page)[1]


@needs_chromium
@pytest.mark.parametrize(
    ("presses", "expected"),
    [
        # Column 2 is the masking area, by which the rows are sorted already; 5 is seconds per row.
        ([2], ["random", "fimap", "saliency", "greedy", "lime", "lrp"]),
        ([2, 2], ["greedy", "saliency", "fimap", "random", "lime", "lrp"]),
        ([5], ["fimap", "saliency", "lime", "greedy", "random", "lrp"]),
        ([5, 5], ["random", "greedy", "lime", "saliency", "fimap", "lrp"]),
        ([0], ["fimap", "greedy", "lime", "lrp", "random", "saliency"]),
    ],
)
def test_headings_sort(
    presses: list[int], expected: list[str], results: Results, tmp_path: Path
) -> None:
    results.curves = []
    script = f"for (const i of {presses}) document.querySelectorAll('.sortable button')[i].click()"
    dom, complaints = browse_with_script(render(results), script, tmp_path)
    assert complaints == []
    assert order(dom) == expected
    assert dom.count("aria-sort=") == 1 + render(results).count("[aria-sort=")


@needs_chromium
def test_curves_of_other_masks_are_folded_away_and_their_metrics_described_once(
    results: Results, tmp_path: Path
) -> None:
    filled = results.metrics["area"] | {"title": "masking area, blur", "fill": "blur"}
    results.metrics["area[blur]"] = filled
    results.curves += [replace(curve, metric="area[blur]") for curve in results.curves]
    results.measurements += [
        replace(each, metric="area[blur]") for each in results.measurements if each.metric == "area"
    ]
    html = render(results)
    assert html.count("<dt>masking area</dt>") == html.count("<dt>blur</dt>") == 1
    assert "<dt>masking area, blur</dt>" not in html
    script = """
        const folded = document.querySelectorAll("details.curves:not([open])");
        folded[0].open = true;
        folded[0].querySelector(".key [data-explainer=lime]").click();
        document.title = [folded.length, ...folded[0].querySelector(".plotly-graph-div").data
            .filter((trace) => !trace.visible).map((trace) => trace.meta.explainer)].join();
    """
    dom, complaints = browse_with_script(html, script, tmp_path)
    assert complaints == []
    assert "<title>1,lime,lime</title>" in dom


@needs_chromium
def test_key_hides_a_curve_with_its_band(results: Results, tmp_path: Path) -> None:
    script = """
        document.querySelector(".key [data-explainer=lime]").click();
        document.title = document.querySelector(".plotly-graph-div").data
            .filter((trace) => !trace.visible).map((trace) => trace.meta.explainer).join();
    """
    dom, complaints = browse_with_script(render(results), script, tmp_path)
    assert complaints == []
    assert "<title>lime,lime</title>" in dom
    assert 'aria-pressed="false" data-explainer="lime"' in dom


@needs_chromium
def test_pointing_at_a_name_shows_its_band(results: Results, tmp_path: Path) -> None:
    script = """
        document.querySelector(".key [data-explainer=lime]").dispatchEvent(new Event("focus"));
        document.title = document.querySelector(".plotly-graph-div").data
            .filter((trace) => trace.opacity === 1).map((trace) => trace.meta.explainer).join();
    """
    assert "<title>lime,lime</title>" in browse_with_script(render(results), script, tmp_path)[0]


@needs_chromium
def test_images_are_chosen_and_masked_one_by_one(results: Results, tmp_path: Path) -> None:
    results.curves = []
    results.gallery.maps["fimap"][1] = torch.arange(16.0).view(4, 4) / 16
    results.gallery.rows[:] = 0.0
    script = """
        addEventListener("load", async () => {
          document.querySelector("[data-step='1']").click();
          const masked = document.getElementById("masked");
          masked.value = 25;
          masked.dispatchEvent(new Event("input"));
          await new Promise((done) => setTimeout(done, 500));
          const left = document.querySelectorAll(".cards canvas")[1].getContext("2d");
          const grays = [...left.getImageData(0, 0, 4, 4).data].filter((_, i) => i % 4 === 0);
          document.title = [document.getElementById("chosen").value, ...grays].join();
        });
    """
    # fimap's map comes third in the order of the ranks; here it alone is looked at.
    results.gallery.maps = {"fimap": results.gallery.maps["fimap"]}
    dom, complaints = browse_with_script(render(results), script, tmp_path)
    assert complaints == []
    # A quarter of the pixels, the first row, is the least relevant and gray; the others are black.
    assert f"<title>1,{','.join(['128'] * 4 + ['0'] * 12)}</title>" in dom


def test_a_hundred_photographs_keep_the_report_small(results: Results) -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(100, 3, 28, 28, generator=generator)
    results.gallery = Gallery(interpolate(coarse, size=(224, 224)), ["a dog"] * 100)
    for i in range(20):
        results.gallery.maps[f"e{i}"] = torch.randn(100, MAP_SIDE, MAP_SIDE, generator=generator)
        results.gallery.signed[f"e{i}"] = True
    assert len(render(results).encode()) < 15e6


def test_ranks_agreement_and_changed_rows_are_shown(results: Results) -> None:
    results.measurements[0].rank = (1, 3)
    results.measurements[0].behind = {"leader": "lime", "mean": 0.1, "interval": [0.05, 0.15]}
    results.agreement = [
        Agreement("cosine", "Of scores.", ["random", "fimap"], [[1.0, -0.25], [-0.25, math.nan]])
    ]
    results.examples = Examples(
        ["age", "job"], ["refused"], [["30", "<none>"]],
        {"fimap": [["31", "<none>"]], "lime": [["30", "<none>"]]},
        {"fimap": ["granted"], "lime": ["refused"]},
    )  # fmt: skip
    html = render(results)
    assert "rank 1–3" in html
    assert "0.100 [0.050, 0.150] from lime" in html
    # In the order of the ranks: fimap is before random.
    grid = html[html.index('<table class="grid">') :]
    assert re.findall(r"<span>(\w+)</span>", grid)[:2] == ["fimap", "random"]
    assert re.findall(r'; color: #\w+">([^<]+)<', grid)[:4] == ["–", "-0.25", "-0.25", "1.00"]
    assert '<td class="changed">▸\u00a031</td><td>&lt;none&gt;</td>' in html
    assert '<tr class="failed"><th scope="row">lime</th>' in html


def test_counterfactuals_have_no_baseline(results: Results) -> None:
    heading = "<span>baseline</span>"
    assert heading in render(results)
    results.task["compares"] = "counterfactual"
    assert heading not in render(results)


def test_broken_promises_are_shown_with_their_counterexamples(results: Results) -> None:
    records = [
        {
            "explainer": name,
            "axiom": "dummy",
            "status": status,
            "reason": "",
            "counterexample": code,
        }
        for name, status, code in (
            ("ig", "kept", None),
            ("lrp", "broken", "model = <nn.ReLU>"),
        )
    ]
    content = {"axioms": {"dummy": {"statement": "What is ignored gets 0."}}, "records": records}
    html = render(results, content)
    assert "✓" in html
    assert "lrp: dummy broken" in html
    assert "model = &lt;nn.ReLU&gt;" in html
    assert "What is ignored gets 0." in html
    assert '<h2 id="axioms">' in html
    assert '<h2 id="axioms">' not in render(results)


def test_records_of_axioms_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"records": []}', '{"axioms": {}, "records": [{}]}'):
        (tmp_path / "records.json").write_text(text)
        with pytest.raises(ResultsFolderError, match=r"records\.json' is not a file that"):
            read_axioms(tmp_path / "records.json")


def test_fetches_nothing(results: Results) -> None:
    html = render(results)
    assert references(html) == []
    assert references(html + '<script src="https://example.org/a.js"></script>')


def test_other_peoples_text_is_escaped(results: Results) -> None:
    results.explainers[0].name = results.curves[0].explainer = "<i>x</i></script>"
    html = render(results)
    assert "<script>console.error" not in html
    assert "&lt;script&gt;console.error" in html
    assert "a &lt;b&gt;3&lt;/b&gt;" in html
    assert "<i>x</i>" not in html


def test_plotly_is_inlined_once_and_only_for_plots(results: Results) -> None:
    assert render(results).count("* plotly.js v") == 1
    results.curves = []
    assert len(render(results)) < 100_000


def _no_gallery(results: Results) -> None:
    results.gallery = None


def _empty_gallery(results: Results) -> None:
    results.gallery = Gallery(torch.zeros(0, 1, 4, 4), [])


def _all_failed(results: Results) -> None:
    results.measurements, results.curves, results.gallery = [], [], None
    for run in results.explainers:
        run.status, run.reason, run.n_rows = "error", "no luck", 0


def _nobody(results: Results) -> None:
    _all_failed(results)
    results.explainers = []


def _bare(results: Results) -> None:
    results.task, results.metrics = {}, {"area": {}, "agreement": {}}


@pytest.mark.parametrize("less", [_no_gallery, _empty_gallery, _all_failed, _nobody, _bare])
def test_anything_may_be_missing(less: Callable[[Results], None], results: Results) -> None:
    less(results)
    html = render(results)
    assert html.rstrip().endswith("</html>")
    assert ("no luck" in html) == (less is _all_failed)


def test_rows_of_a_table_show_their_scores(table_results: Results) -> None:
    table_results.gallery.maps["fimap"][0] = torch.tensor([-1.0, float("nan"), 0.5])
    html = render(table_results)
    assert "&lt;b&gt;debt&lt;/b&gt;" in html
    assert re.search(
        r'<td class="number" style="background: rgb\([\d, ]+\); [^"]*">-1.000</td>', html
    )
    assert re.search(r"rgb\(200, 200, 200\); [^>]*>–</td>", html)


def test_signed_colours_are_symmetric_about_zero() -> None:
    scores = np.array([[-4.0, -2.0, 0.0], [2.0, np.nan, 1.0]])
    indices = color_indices(scores, signed=True).astype(int)
    assert indices[0, 2] == 127
    assert indices[0, 1] + indices[1, 0] == 254
    assert indices[1, 1] == 255


def test_unsigned_colours_run_from_the_least_to_the_largest_score() -> None:
    indices = color_indices(np.linspace(3.0, 5.0, 1000), signed=False)
    assert indices.min() == 0
    assert indices.max() == 254
    assert (np.diff(indices.astype(int)) >= 0).all()


@pytest.mark.parametrize(("signed", "neutral"), [(True, 127), (False, 0)])
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_scores_that_say_nothing_are_neutral(signed: bool, neutral: int, value: float) -> None:
    expected = neutral if value == 0 else 255
    assert (color_indices(np.full((2, 2), value), signed) == expected).all()


def test_pictures_hold_the_colours_of_the_palette() -> None:
    indices = np.array([[0, 127], [254, 255]], dtype=np.uint8)
    colors = palette("RdBu_r")
    file = io.BytesIO(base64.b64decode(data_uri(indices, colors).partition(",")[2]))
    assert (np.array(Image.open(file).convert("RGB")) == colors[indices]).all()
    blue, white, red = colors[0].astype(int), colors[127], colors[254].astype(int)
    assert blue[2] > blue[0]
    assert white.min() > 240
    assert red[0] > red[2]


def test_arrows_are_equally_long_and_point_along_the_scores() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    scores = torch.tensor([[3.0, 4.0], [-0.1, 0.0], [0.0, 0.0], [float("nan"), 1.0]])
    gallery = Gallery(rows, ["one class"] * 4, {"e": scores}, {"e": True})
    strokes, points = arrow_figure(gallery, "e", ["a", "b"]).data
    ends = np.stack([strokes.x, strokes.y], axis=1).reshape(-1, 3, 2)
    arrows = ends[:, 1] - ends[:, 0]
    assert len(points.x) == 4
    assert (ends[:, 0] == rows[:2].numpy()).all()
    lengths = np.linalg.norm(arrows, axis=1, keepdims=True)
    np.testing.assert_allclose(arrows / lengths, [[0.6, 0.8], [-1.0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(lengths, lengths[:1].repeat(2, axis=0))


def test_scores_without_a_sign_are_crosses() -> None:
    rows = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    gallery = Gallery(rows, ["a", "b"], {"e": torch.tensor([[3.0, 4.0], [1.0, 0.0]])}, {"e": False})
    strokes = arrow_figure(gallery, "e", ["a", "b"]).data[0]
    assert strokes.mode == "lines"
    arms = np.nanmax([strokes.x, strokes.y], axis=1)
    np.testing.assert_allclose(arms[0] / arms[1], 0.75)
