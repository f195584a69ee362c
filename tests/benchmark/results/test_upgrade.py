"""Results of earlier versions are read in the words of this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xai_adapters.benchmark.report.report import render
from xai_adapters.benchmark.results.comparison import compare
from xai_adapters.benchmark.results.files import read_results, write_results
from xai_adapters.benchmark.results.results import SCHEMA_VERSION
from xai_adapters.benchmark.run.description import RunDescription

parquet = pytest.importorskip("pyarrow.parquet")
pyarrow = pytest.importorskip("pyarrow")

# Written by the last release before schema version 3, with fewer metrics and costs.
OLD = Path(__file__).parent / "schema_version_2.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results.json").write_text(OLD.read_text())
    lines = [
        {"explainer": name, "metric": "l2", "row": row, "threshold": None, "value": 0.5}
        for name in ("fimap_check", "nearest_unlike")
        for row in range(3)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(lines), tmp_path / "rows.parquet")
    return tmp_path


def test_results_of_schema_version_2_are_read(folder: Path) -> None:
    results = read_results(folder)
    assert results.schema_version == SCHEMA_VERSION
    names = ["fimap_line_search", "nearest_unlike"]
    assert [run.name for run in results.explainers] == names
    assert list(dict.fromkeys(m.explainer for m in results.measurements)) == names
    assert list(dict.fromkeys(line["explainer"] for line in results.rows)) == names
    assert list(results.examples.target_classes) == list(results.examples.after) == names
    described = RunDescription.parse(results.settings)
    assert (described.task, described.seeds, described.jobs) == ("mine:task", 2, 1)
    assert described.explainers == tuple(names)


def test_they_are_reported_compared_and_written_in_the_present_form(folder: Path) -> None:
    results = read_results(folder)
    assert "fimap_line_search" in render(results)
    write_results(results, folder)
    written = json.loads((folder / "results.json").read_text())
    assert (written["schema_version"], written["settings"]["seeds"]) == (SCHEMA_VERSION, 2)
    comparison = compare(results, read_results(folder))
    assert comparison.warnings == comparison.failures == comparison.notes == []
    assert all(change.paired for change in comparison.changes if change.metric == "l2")
