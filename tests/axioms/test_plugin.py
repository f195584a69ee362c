"""The plug-in, in pytest runs of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

MODULE = """
import threading
import torch
from xai_adapters.axioms import Domain, check_explainer, explainer

CLAIM = {"dummy": 0, "well_formed": 0, "symmetry": "it numbers the features"}
LINE = Domain.linear(styles=("module",))

def made(name, change):
    def make(model):
        return lambda inputs, target: change(model[0].weight.detach()[target] * inputs)
    return explainer(name, make, CLAIM, domain=LINE)

def spin(a):
    while True:
        pass

def good():
    return made("good", lambda a: a)

def several():
    return [
        good(),
        made("constant", lambda a: a + 1),
        made("nan", lambda a: a * torch.nan),
        made("none", lambda a: None),
        made("text", lambda a: "none"),
        made("narrow", lambda a: a[:, :1].repeat(1, 9)),
        made("raises", lambda a: 1 / 0),
    ]

def hanging():
    return [made("hangs", lambda a: threading.Event().wait()), made("spins", spin)]

def broken():
    raise RuntimeError("no model today")

def nothing():
    return None
"""


def run(
    pytester: pytest.Pytester, *arguments: str
) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
    pytester.makepyfile(mine=MODULE)
    # In this process, which has torch: only workers need processes of their own.
    start = pytester.runpytest_subprocess if "-n" in arguments else pytester.runpytest_inprocess
    ran = start(
        "-p", "pytest_xai_adapters", "-p", "no:cacheprovider", "--xai-report=report.json",
        "--xai-max-examples=10", *arguments,
    )  # fmt: skip
    report = pytester.path / "report.json"
    return ran, json.loads(report.read_text())["records"] if report.exists() else []


def test_no_test_file_is_needed(pytester: pytest.Pytester):
    pytester.makepyfile(test_not_asked_for="def test_it(): assert False")
    ran, records = run(pytester, "--xai-explainer=mine:good", "-v")
    ran.assert_outcomes(passed=2, skipped=1)
    ran.stdout.fnmatch_lines(["mine:good::good-dummy PASSED*"])
    assert [(record["axiom"], record["status"]) for record in records] == [
        ("dummy", "kept"), ("symmetry", "not claimed"), ("well_formed", "kept"),
    ]  # fmt: skip
    assert records[0]["examples"] == 10


def test_files_that_are_named_are_run_beside(pytester: pytest.Pytester):
    pytester.makepyfile(test_asked_for="def test_it(): pass")
    ran, _ = run(pytester, "--xai-explainer=mine:good", "test_asked_for.py")
    ran.assert_outcomes(passed=3, skipped=1)


def test_whatever_an_explainer_does_it_gets_a_record_and_the_run_goes_on(
    pytester: pytest.Pytester,
):
    ran, records = run(
        pytester, "--xai-explainer=mine:several", "--xai-explainer=mine:broken",
        "--xai-explainer=mine:nothing", "--xai-explainer=nowhere:x", "--xai-axioms=dummy",
    )  # fmt: skip
    ran.assert_outcomes(passed=1, failed=9)
    outcomes = {record["explainer"]: (record["status"], record["reason"]) for record in records}
    assert outcomes["good"] == ("kept", "")
    assert outcomes["constant"] == ("broken", "")
    assert outcomes["nan"] == ("broken", "")
    for name, hint in {
        "none": "returned a NoneType",
        "text": "returned a str",
        "narrow": "returned shape",
        "raises": "ZeroDivisionError",
        "mine:broken": "no model today",
        "mine:nothing": "must give an explainer",
        "nowhere:x": "No module named 'nowhere'",
    }.items():
        status, reason = outcomes[name]
        assert status == "crashed", name
        assert hint in reason
    # Nobody reads our stack to see what an explainer did.
    assert "record.py" not in ran.stdout.str()
    ran.stdout.fnmatch_lines(["*tested = load_explainers('mine:several')?1?"])


def test_explainers_that_hang_are_ended(pytester: pytest.Pytester):
    ran, records = run(
        pytester, "--xai-explainer=mine:hanging", "--xai-axioms=dummy", "--xai-timeout=1"
    )
    ran.assert_outcomes(failed=2)
    assert [(record["explainer"], record["status"], record["reason"]) for record in records] == [
        (name, "timed out", "it did not return within 1 s") for name in ("hangs", "spins")
    ]
    assert all(record["seconds"] >= 1 for record in records)


def test_the_default_limit_does_not_hold_for_the_users_own_test_functions(
    pytester: pytest.Pytester,
):
    pytester.makepyfile(
        test_own="""
        import mine, os

        def test_it():
            here = []
            tested = mine.made("noting", lambda a: here.append(os.getpid()) or a)
            mine.check_explainer(tested, ["dummy"])
            assert set(here) == {os.getpid()}
        """
    )
    ran, records = run(pytester, "--xai-explainer=mine:good", "--xai-axioms=dummy", "test_own.py")
    ran.assert_outcomes(passed=2)
    assert len(records) == 2


def test_workers_send_their_records(pytester: pytest.Pytester):
    pytest.importorskip("xdist")
    ran, records = run(
        pytester, "--xai-explainer=mine:several", "--xai-explainer=mine:broken",
        "--xai-axioms=dummy", "-k", "good or constant or nan or load", "-n", "2",
    )  # fmt: skip
    ran.assert_outcomes(passed=1, failed=3)
    statuses = sorted((record["explainer"], record["status"]) for record in records)
    assert statuses == [
        ("constant", "broken"), ("good", "kept"), ("mine:broken", "crashed"), ("nan", "broken"),
    ]  # fmt: skip


def test_ids_are_the_same_in_every_run(pytester: pytest.Pytester):
    def listed() -> list[str]:
        ran, _ = run(pytester, "--xai-explainer=mine:several", "--collect-only", "-q")
        return [line for line in ran.outlines if "::" in line]

    first = listed()
    assert first == listed()
    assert first[:3] == [
        "mine:several::good-dummy", "mine:several::good-symmetry",
        "mine:several::good-well_formed",
    ]  # fmt: skip


def test_expected_failures_come_from_a_file_and_dead_names_are_warned_about(
    pytester: pytest.Pytester,
):
    (pytester.path / "known.txt").write_text(
        "# what we know\nconstant/dummy: it adds one\n\nconstant/dumy: a slip\n"
    )
    ran, records = run(
        pytester, "--xai-explainer=mine:several", "--xai-axioms=dummy", "-k", "constant or good",
        "--xai-expected-failures=known.txt",
    )  # fmt: skip
    ran.assert_outcomes(passed=1, xfailed=1, deselected=5)
    assert [record["status"] for record in records] == ["kept", "expected failure"]
    assert records[1]["reason"] == "it adds one"
    ran.stdout.fnmatch_lines(["*nothing is called constant/dumy*"])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--xai-axioms=dumy"], "Did you mean 'dummy'"),
        (["--xai-expected-failures=nowhere.txt"], "nowhere.txt"),
        (["--xai-expected-failures=bad.txt"], "bad.txt, line 1"),
        (["--xai-max-examples=0"], "at least 1"),
    ],
)
def test_mistakes_are_one_line(pytester: pytest.Pytester, arguments: list[str], hint: str):
    (pytester.path / "bad.txt").write_text("dummy\n")
    ran, _ = run(pytester, "--xai-explainer=mine:good", *arguments)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"ERROR: *{hint}*"])


def test_the_users_own_test_functions_follow_the_options(pytester: pytest.Pytester):
    pytester.makepyfile(
        test_own="""
        import mine
        from xai_adapters.axioms import parametrize_with_axioms

        @parametrize_with_axioms(
            mine.several()[:2], axioms=["dummy"], expected_failures={"constant": {"dummy": "why"}}
        )
        def test_axiom(explainer, axiom):
            axiom.check(explainer)
        """
    )
    ran, records = run(pytester, "-v")
    ran.assert_outcomes(passed=1, xfailed=1)
    ran.stdout.fnmatch_lines(["test_own.py::test_axiom?good-dummy? PASSED*"])
    assert [record["examples"] for record in records][:1] == [10]
    assert [record["status"] for record in records] == ["kept", "expected failure"]


def test_a_run_without_the_options_imports_nothing_of_ours():
    root = Path(__file__).parents[2]
    code = (
        "import sys, pytest; sys.argv = ['pytest']\n"
        "pytest.main(['-p', 'pytest_xai_adapters', '--collect-only', '-q', '--noconftest', '-c',"
        " '/dev/null', '-p', 'no:hypothesispytest', '-p', 'no:cacheprovider', sys.executable])\n"
        "print([name for name in ('torch', 'hypothesis', 'xai_adapters') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"
