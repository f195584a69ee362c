import json
import os
from pathlib import Path

import pytest

from xai_adapters.benchmark.results.files import write_results
from xai_adapters.benchmark.results.results import SCHEMA_VERSION, Results
from xai_adapters.benchmark.run.run_folder import RunFolder
from xai_adapters.errors import ResultsFolderError

parquet = pytest.importorskip("pyarrow.parquet")


def test_all_three_files_are_written_and_read_back(results: Results, tmp_path: Path):
    results.rows = [
        {"explainer": "lime", "metric": "masking_curve", "row": 0, "threshold": 0.5, "value": 1.0},
        {"explainer": "lime", "metric": "masking_area", "row": 0, "threshold": None, "value": 0.2},
    ]
    write_results(results, tmp_path, "a page")
    assert {path.name for path in tmp_path.iterdir()} == {
        "gallery.safetensors", "report.html", "results.json", "rows.parquet"
    }  # fmt: skip
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "a page"
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == results.rows
    read = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert read["schema_version"] == SCHEMA_VERSION
    assert [run["name"] for run in read["explainers"]] == [r.name for r in results.explainers]
    assert {m["explainer"] for m in read["measurements"]} <= {r.name for r in results.explainers}
    assert "gallery" not in read


def test_json_holds_null_for_numbers_that_are_none(results: Results):
    results.measurements[0].standard_error = float("nan")
    results.curves[0].low[0] = float("-inf")
    read = json.loads(results.to_json(), parse_constant=pytest.fail)
    assert read["measurements"][0]["standard_error"] is None
    assert read["curves"][0]["low"][0] is None


def test_a_full_disk_leaves_the_earlier_results(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_results(results, tmp_path, "a page")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    results.explainers[0].summary = "changed"

    def full_disk(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disk)
        with pytest.raises(ResultsFolderError, match=r"disk full.*--resume"):
            write_results(results, tmp_path, "another page")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_is_made_with_its_parents_and_none_is_left_where_nothing_was_begun(tmp_path: Path):
    with RunFolder(tmp_path / "a" / "b") as folder:
        assert folder.path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsFolderError, match="--out"):
        RunFolder(tmp_path / "file" / "b").__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsFolderError, match="--out"):
        RunFolder(tmp_path).__enter__()
