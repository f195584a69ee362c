from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from xai_adapters.benchmark.report.columns import (
    cost_columns,
    metric_columns,
    not_applicable,
    ranked,
)
from xai_adapters.benchmark.report.formats import DASH, format_number, format_seconds
from xai_adapters.benchmark.report.terminal_table import print_table
from xai_adapters.benchmark.report.text_tables import markdown_table
from xai_adapters.benchmark.results.results import Results


def printed(results: Results, width: int = 120, **options: object) -> str:
    file = io.StringIO()
    print_table(results, Console(file=file, width=width, **options))
    return file.getvalue()


def test_best_first_then_those_without_a_value_then_those_that_raised(results: Results) -> None:
    names = [run.name for run in ranked(results)]
    assert names == ["greedy", "saliency", "fimap", "random", "lime", "lrp"]


def test_higher_first_where_higher_is_better(results: Results) -> None:
    results.metrics["area"]["higher_is_better"] = True
    assert [run.name for run in ranked(results)][:2] == ["random", "fimap"]


def test_without_measurements_the_order_is_that_of_the_run(results: Results) -> None:
    results.measurements = []
    assert [run.name for run in ranked(results)] == [
        "fimap", "saliency", "lime", "greedy", "random", "lrp",
    ]  # fmt: skip


def test_the_best_of_a_column_is_no_end_and_ties_share_it(results: Results) -> None:
    area, agreement = metric_columns(results)
    assert [name for name, cell in area.cells.items() if cell.best] == ["saliency"]
    assert [name for name, cell in agreement.cells.items() if cell.best] == [
        "fimap", "saliency", "lime",
    ]  # fmt: skip


def test_a_value_that_only_one_explainer_has_is_not_the_best(results: Results) -> None:
    results.measurements = results.measurements[:1]
    (area,) = metric_columns(results)
    assert not area.cells["fimap"].best


def test_a_metric_that_nobody_was_measured_by_has_no_column(results: Results) -> None:
    results.metrics["unused"] = {"title": "unused", "higher_is_better": None}
    assert [column.title for column in metric_columns(results)] == ["masking area", "agreement"]


def test_no_value_and_no_fit_are_dashes(results: Results) -> None:
    fit, per_row, total, rows = cost_columns(results)
    assert metric_columns(results)[0].cells["lime"].text == DASH
    assert fit.cells["fimap"].text == DASH
    assert [column.cells["fimap"].text for column in (per_row, total, rows)] == [
        "50.0 ms", "500.0 ms", "10",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_a_dash(value: float | None) -> None:
    assert format_number(value) == format_seconds(value) == DASH


def test_printed_table_has_every_row_with_errors_and_reasons(results: Results) -> None:
    text = printed(results)
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert [line for line in lines if line[0] == "saliency"] == [
        ["saliency", "0.100", "0.300", DASH, "100.0", "ms", "1.0", "s", "10"]
    ]
    assert "ValueError: <script>" in text
    assert "not applicable: shap_tree (no <trees>)" in text


def test_printed_table_shows_ranks_and_says_what_they_are(results: Results) -> None:
    assert "in brackets" not in printed(results)
    ranks = {"saliency": (1, 1), "fimap": (2, 3), "lime": (2, 3)}
    for measurement in results.measurements:
        measurement.rank = ranks.get(measurement.explainer)
    text = printed(results)
    assert "0.100 (1) " in text
    assert "0.200 (2–3) " in text
    assert f"{DASH} (2–3)" not in text
    assert text.count("ranks in brackets: 1–3 means that no explainer is") == 1


def test_printed_table_takes_brackets_in_names_for_text(results: Results) -> None:
    results.explainers[-2].name = "integrated_gradients[red]"
    assert "integrated_gradients[red]" in printed(results)


def test_printed_table_shows_the_best_in_bold(results: Results) -> None:
    text = printed(results, force_terminal=True, color_system="standard")
    assert re.search(r"\x1b\[1m +0\.100", text)
    assert not re.search(r"\x1b\[1m +0\.050", text)


def test_markdown_has_one_cell_a_column_whatever_the_text(results: Results) -> None:
    table, _, footer = markdown_table(results).partition("\n\n")
    rows = [line.replace("\\|", "").count("|") for line in table.splitlines()]
    assert len(rows) == 2 + 6
    assert len(set(rows)) == 1
    assert "| **0.100** [0.080, 0.120] |" in table
    assert "<script>" not in table
    assert footer == "Not applicable: shap_tree (no &lt;trees>)\n"


def test_a_run_in_which_all_failed_still_has_a_table(results: Results) -> None:
    results.measurements = []
    for run in results.explainers:
        run.status, run.reason = "error", "no luck"
    assert printed(results).count("no luck") == 7
    assert markdown_table(results).count("no luck") == 7


def test_reasons_are_listed_once(results: Results) -> None:
    for run in results.explainers[:2]:
        run.status, run.reason = "not applicable", "no <trees>"
    assert not_applicable(results) == {"no <trees>": ["fimap", "saliency", "shap_tree"]}


@pytest.mark.parametrize("width", [60, 80, *range(90, 130, 3), 200])
def test_names_and_numbers_stand_whole_on_every_width(results: Results, width: int) -> None:
    lines = printed(results, width=width).splitlines()
    words = {word for line in lines for word in line.split("  ") if word}
    shown = {word.strip() for word in words}
    assert {run.name for run in results.explainers if run.status == "ok"} <= shown
    for column in metric_columns(results) + cost_columns(results):
        assert {cell.text for cell in column.cells.values()} <= shown
    assert max(map(len, lines)) <= width or width < 80
