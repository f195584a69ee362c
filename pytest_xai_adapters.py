"""`pytest --xai-explainer module:factory`: the axioms an explainer claims, as tests without a file.

A module beside the package: pytest imports it in everybody's runs, and the package imports torch.
Nothing else is imported until one of the options is used.
"""

from __future__ import annotations

import pytest

_GROUP = "axioms of explanations (xai-adapters)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("xai-adapters", _GROUP)
    group.addoption(
        "--xai-explainer",
        action="append",
        default=[],
        metavar="MODULE:FACTORY",
        help="explainer under test: what a function gives, or a registered name; may be repeated",
    )
    group.addoption(
        "--xai-axioms", metavar="NAMES", help="axioms to look at, separated by commas; default: all"
    )
    group.addoption(
        "--xai-max-examples", type=int, metavar="N", help="cases tried for each axiom; default: 100"
    )
    group.addoption(
        "--xai-timeout",
        type=float,
        metavar="SECONDS",
        help="after which a check is ended and fails, 0 for none; default: 60 for checks of "
        "--xai-explainer, none for those in test functions",
    )
    group.addoption(
        "--xai-report", metavar="FILE.json", help="write a record of every check to this file"
    )
    group.addoption(
        "--xai-expected-failures",
        metavar="FILE",
        help="lines of 'explainer/axiom: reason' that are expected to fail",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Do the rest only where it was asked for."""
    options = (
        "xai_explainer", "xai_axioms", "xai_max_examples", "xai_timeout", "xai_report",
        "xai_expected_failures",
    )  # fmt: skip
    if any(config.getoption(option) is not None for option in options[1:]) or config.getoption(
        options[0]
    ):
        from xai_adapters.axioms.fronts.pytest_items import AxiomPlugin

        config.pluginmanager.register(AxiomPlugin(config), "xai_adapters.axioms")
