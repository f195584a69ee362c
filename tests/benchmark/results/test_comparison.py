"""What changed between two runs, and what is said of folders that cannot be read."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import benchmark_toys as toys
import pytest
import torch
from rich.console import Console

from xai_adapters.benchmark.results.comparison import Comparison, compare, print_comparison
from xai_adapters.benchmark.results.files import read_results, write_results
from xai_adapters.benchmark.results.results import Results
from xai_adapters.benchmark.run.runner import run_benchmark
from xai_adapters.errors import MissingDependencyError, ResultsFolderError
from xai_adapters.registry import ExplainerEntry, FunctionExplainer

pytest.importorskip("pyarrow")


def left_column(rows: torch.Tensor) -> torch.Tensor:
    scores = torch.zeros_like(rows)
    scores[..., 0] = 1
    return scores


def missing(rows: torch.Tensor) -> torch.Tensor:
    raise MissingDependencyError("captum is not installed")


SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "right": left_column,
    "wrong": lambda rows: -left_column(rows),
    "raises": lambda rows: 1 / 0,
    "missing": missing,
}


def run(n_rows: int = 40, **explainers: str) -> Results:
    """A run in which each named explainer does what is said of it."""
    rows = torch.rand(n_rows, 1, 4, 4, generator=torch.Generator().manual_seed(n_rows))
    entries = [
        ExplainerEntry(name, "", lambda _, what=what: FunctionExplainer(
            lambda rows, target: SCORES[what](rows)
        ))
        for name, what in explainers.items()
    ]  # fmt: skip
    return run_benchmark(replace(toys.task(), rows=rows), entries)


def verdicts(comparison: Comparison) -> dict[str, str]:
    return {
        each.explainer: each.verdict for each in comparison.changes if each.metric == "masking_area"
    }


def test_the_same_run_again_is_no_change() -> None:
    found = compare(run(a="right", b="wrong"), run(a="right", b="wrong"))
    assert set(verdicts(found).values()) == {"same"}
    assert not found.regressed
    assert found.warnings == found.failures == []


def test_better_and_worse_are_told_row_by_row() -> None:
    before, after = run(a="right", b="wrong"), run(a="wrong", b="right", c="right")
    found = compare(before, after)
    assert verdicts(found) == {"a": "worse", "b": "better"}
    assert all(change.paired for change in found.changes)
    assert found.regressed
    assert not compare(run(b="wrong"), after).regressed
    assert "c is only in the second run" in found.notes
    (area,) = [c for c in found.changes if (c.explainer, c.metric) == ("a", "masking_area")]
    assert area.interval[0] < area.after - area.before < area.interval[1]


def test_of_runs_that_share_some_rows_only_those_are_compared() -> None:
    """Where one run explained fewer rows, what it did not explain is no difference."""
    before, after = run(a="right"), run(a="right")
    (first,) = (m for m in before.measurements if m.metric == "masking_area")
    # Rows that only the first run explained, on which it did far worse.
    before.rows += [
        {**line, "row": line["row"] + 40, "value": line["value"] + 9}
        for line in before.rows
        if line["metric"] == "masking_area"
    ]
    first.value += 4.5
    # A row in the middle that only the second run has a value of.
    before.rows = [
        line for line in before.rows if (line["metric"], line["row"]) != ("masking_area", 3)
    ]
    (change,) = (c for c in compare(before, after).changes if c.metric == "masking_area")
    assert change.paired
    assert (change.interval, change.verdict) == ((0, 0), "same")
    # A difference on the rows that both have counts, whatever the others say.
    for line in after.rows:
        line["value"] += line["metric"] == "masking_area"
    (change,) = (c for c in compare(before, after).changes if c.metric == "masking_area")
    assert change.after < change.before
    assert change.interval == pytest.approx((1, 1))
    assert change.verdict == "worse"


def test_settings_of_an_explainer_that_differ_are_a_warning() -> None:
    before, after = run(a="right"), run(a="right")
    before.explainers[0].settings |= {"penalty": 1.0, "removed": 2}
    after.explainers[0].settings |= {"penalty": 3.0}
    assert compare(before, after).warnings == ["penalty of a differs: 1.0, then 3.0"]


def test_an_explainer_that_raises_now_is_a_regression() -> None:
    found = compare(run(a="right"), run(a="raises"))
    assert found.regressed
    assert "a raises now: ZeroDivisionError" in found.failures[0]
    assert not compare(run(a="raises"), run(a="raises")).regressed


def test_an_explainer_whose_library_is_gone_is_a_regression() -> None:
    found = compare(run(a="right"), run(a="missing"))
    assert found.regressed
    assert found.failures == ["a is not applicable now: captum is not installed"]
    assert not compare(run(a="missing"), run(a="right")).regressed


def test_metrics_that_one_run_alone_has_are_a_note() -> None:
    before, after = run(a="right"), run(a="right")
    after.measurements = [m for m in after.measurements if m.metric != "sparseness"]
    told = "measured in the {} run only: sparseness"
    assert told.format("first") in compare(before, after).notes
    assert told.format("second") in compare(after, before).notes


def test_other_rows_are_compared_by_their_means_with_a_warning() -> None:
    found = compare(run(40, a="right", b="wrong"), run(41, a="wrong", b="wrong"))
    assert verdicts(found) == {"a": "worse", "b": "same"}
    assert not any(change.paired for change in found.changes)
    assert "the rows differ: means are compared without pairing rows" in found.warnings


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("environment", {"processor": "a faster one"}, "processor differs: .*, then a faster one"),
        ("versions", {"torch": "9"}, "version of torch differs: .*, then 9"),
        ("environment", {"dirty": True}, "uncommitted changes differs"),
        ("settings", {"seed": 9}, "seed differs: 0, then 9"),
        ("task", {"mask_value": 0.0}, "mask_value differs"),
    ],
)
def test_what_makes_two_runs_unlike_is_warned_about(
    part: str, change: dict[str, Any], told: str
) -> None:
    before, after = run(a="right"), run(a="right")
    before.environment["dirty"] = False
    after.environment["dirty"] = False
    assert compare(before, after).warnings == []
    found = after.environment["versions"] if part == "versions" else getattr(after, part)
    found.update(change)
    (warning,) = compare(before, after).warnings
    assert re.search(told, warning)


def test_seconds_are_a_note_where_they_are_honest() -> None:
    before, after = run(a="right"), run(a="right")
    before.explainers[0].explain_seconds, after.explainers[0].explain_seconds = 1.0, 3.0
    assert "a takes 3 times as long per row" in compare(before, after).notes
    assert not compare(before, after).regressed
    after.settings["jobs"] = 2
    assert compare(before, after).notes == []


def test_who_runs_out_of_time_is_a_note() -> None:
    before, after = run(a="right"), run(a="right")
    after.explainers[0].reason = "stopped after 2 s; 4 of 7 rows are explained"
    assert "a stopped after 2 s; 4 of 7 rows are explained" in compare(before, after).notes
    assert compare(after, after).notes == []


def test_what_is_printed_can_be_read_without_colours() -> None:
    file = io.StringIO()
    print_comparison(compare(run(a="right"), run(a="wrong")), Console(file=file, width=120))
    lines = [line.split() for line in file.getvalue().splitlines()]
    (area,) = [line for line in lines if line[:2] == ["a", "masking_area"]]
    assert area[-1] == "worse"
    assert "measurements differ beyond noise; 6 were compared row by row" in file.getvalue()


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = run(a="right", b="wrong", c="raises")
    written.explainers[0].costs["break_even_rows"] = float("inf")
    written.measurements[0].standard_error = float("nan")
    write_results(written, tmp_path)
    read = read_results(tmp_path)
    assert read.to_json() == written.to_json()
    assert read.rows == written.rows
    assert read.gallery.titles == written.gallery.titles
    assert torch.equal(read.gallery.rows, written.gallery.rows)
    for name, maps in written.gallery.maps.items():
        assert torch.equal(read.gallery.maps[name], maps)
    found = compare(written, read)
    assert not found.regressed
    assert found.warnings == []


def spoil_json(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "results.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content)))


def without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


SPOILED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda p: (p / "results.json").unlink(), "no results.json in .* was expected"),
    "unfinished": (
        lambda p: ((p / "results.json").unlink(), (p / "unfinished").mkdir()),
        "unfinished run, which --resume finishes",
    ),
    "cut off": (
        lambda p: (p / "results.json").write_text((p / "results.json").read_text()[:500]),
        "is damaged",
    ),
    "binary": (lambda p: (p / "results.json").write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "of others": (lambda p: spoil_json(p, lambda c: {"accuracy": 0.9}), "not written by"),
    "a list": (lambda p: spoil_json(p, lambda c: [c]), "not written by"),
    "lacks": (lambda p: spoil_json(p, lambda c: without(c, "measurements")), "not written by"),
    "newer": (
        lambda p: spoil_json(p, lambda c: {**c, "schema_version": 99}),
        r"newer xai_adapters \(schema 99",
    ),
    "rows": (lambda p: (p / "rows.parquet").write_text("no parquet"), r"rows.parquet' is damaged"),
    "gallery": (
        lambda p: (p / "gallery.safetensors").write_bytes(b"short"),
        r"gallery.safetensors' is damaged",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_folder_that_cannot_be_read_is_told_with_the_file(name: str, tmp_path: Path) -> None:
    spoil, told = SPOILED[name]
    write_results(run(a="right"), tmp_path)
    spoil(tmp_path)
    with pytest.raises(ResultsFolderError, match=told):
        read_results(tmp_path)


def test_means_are_compared_where_the_rows_were_lost(tmp_path: Path) -> None:
    write_results(run(a="right"), tmp_path)
    (tmp_path / "rows.parquet").unlink()
    found = compare(run(a="right"), read_results(tmp_path))
    assert "rows.parquet is missing" in " ".join(found.warnings)
    assert verdicts(found) == {"a": "same"}
