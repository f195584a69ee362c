"""The axioms as pytest's items; loaded by the module `pytest_xai_adapters` when it is used."""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from xai_adapters.axioms.axiom import Axiom
from xai_adapters.axioms.check import check_axiom
from xai_adapters.axioms.explainer import Explainer
from xai_adapters.axioms.fronts.report import write_records
from xai_adapters.axioms.loading import load_explainers
from xai_adapters.axioms.record import AxiomError, Record
from xai_adapters.axioms.register import chosen_axioms
from xai_adapters.axioms.search.counterexample import one_line
from xai_adapters.axioms.search.processes import CheckPool
from xai_adapters.axioms.settings import CheckOptions, Settings, session
from xai_adapters.errors import XaiAdaptersError

_PROPERTY = "xai_record"
# Seconds that a check of --xai-explainer may take if nothing is said.
_TIMEOUT = 60.0


class AxiomPlugin:
    """What the options ask for: items, settings of checks, and a report.

    A check in a user's own test function has a time limit only if one is given, as many of their
    explainers cannot be handed to another process.
    """

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        self.config = config
        self.references: list[str] = option("xai_explainer")
        self.settings: CheckOptions = {}
        self.timeout: float | None = _TIMEOUT
        if option("xai_max_examples") is not None:
            self.settings["max_examples"] = option("xai_max_examples")
        if option("xai_timeout") is not None:
            self.settings["timeout"] = self.timeout = option("xai_timeout") or None
        self.report = Path(option("xai_report")) if option("xai_report") else None
        try:
            names = option("xai_axioms")
            self.axioms = chosen_axioms(
                None
                if names is None
                else [name.strip() for name in names.split(",") if name.strip()]
            )
            Settings(**self.settings)
            self.expected = _expected_failures(option("xai_expected_failures"))
        except XaiAdaptersError as error:
            raise pytest.UsageError(str(error)) from None
        self.pool = CheckPool()
        self.records: list[dict[str, Any]] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self) -> bool | None:
        """Without a path of the user's, there is nothing else to collect."""
        given = self.config.args_source is pytest.Config.ArgsSource.ARGS
        return True if self.references and not given else None

    # First, so that -k and -m see the items too.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add an item for each axiom an explainer makes a claim about."""
        # As `python -m pytest` does it: the module may be of the project under test.
        folder = str(self.config.invocation_params.dir)
        if self.references and folder not in sys.path:
            sys.path.insert(0, folder)
        for reference in self.references:
            collector = AxiomCollector.from_parent(
                session, name=reference, nodeid=reference, plugin=self
            )
            items.extend(collector.collect())
        names = {item.name for item in items}
        for explainer, claimed in self.expected:
            if f"{explainer}-{claimed}" not in names:
                warnings.warn(
                    f"--xai-expected-failures: nothing is called {explainer}/{claimed}",
                    stacklevel=1,
                )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Checks in the user's own test functions follow the options, and are recorded."""
        with session(self.settings, self.pool) as opened:
            try:
                return (yield)
            finally:
                item.user_properties += [(_PROPERTY, each.to_dict()) for each in opened.records]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather records; those of other processes come here with their reports."""
        if report.when == "call":
            for name, value in report.user_properties:
                if name == _PROPERTY:
                    assert isinstance(value, dict)
                    self.records.append(value)

    def pytest_sessionfinish(self) -> None:
        """End the processes, and write the report, once."""
        self.pool.close()
        if self.report and not hasattr(self.config, "workerinput"):
            write_records(self.records, self.report)


class AxiomCollector(pytest.Collector):
    """The explainers of a reference."""

    def __init__(self, plugin: AxiomPlugin, **given: Any) -> None:
        super().__init__(**given)
        self.plugin = plugin

    def collect(self) -> Iterator[pytest.Item]:
        """An item for each claim; one that fails if there is no explainer."""
        try:
            explainers = load_explainers(self.name)
        except Exception as error:
            # Whatever a foreign factory raises, the other explainers are still to be checked.
            yield _Unloadable.from_parent(self, name="load", error=error)
            return
        for each in explainers:
            for chosen in self.plugin.axioms:
                if chosen.name in each.claims:
                    yield AxiomItem.from_parent(
                        self, name=f"{each.name}-{chosen.name}", explainer=each, axiom=chosen,
                        expected=self.plugin.expected.get((each.name, chosen.name)),
                        timeout=self.plugin.timeout,
                    )  # fmt: skip


class _Item(pytest.Item):
    def reportinfo(self) -> tuple[Path, None, str]:
        """Where a report says this is."""
        return self.path, None, self.nodeid


class AxiomItem(_Item):
    """One axiom, one explainer."""

    def __init__(
        self,
        explainer: Explainer,
        axiom: Axiom,
        expected: str | None,
        timeout: float | None,
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self.explainer, self.axiom = explainer, axiom
        self.expected, self.timeout = expected, timeout

    def runtest(self) -> None:
        """Search for a counterexample."""
        record = check_axiom(
            self.axiom, self.explainer, expected_failure=self.expected, timeout=self.timeout
        )
        if record.status in ("not claimed", "not applicable"):
            pytest.skip(f"{record.status}: {record.reason}")
        if record.status == "expected failure":
            pytest.xfail(record.reason)
        record.raise_if_failed()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The counterexample, without our own stack."""
        if isinstance(excinfo.value, AxiomError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class _Unloadable(_Item):
    def __init__(self, error: Exception, **given: Any) -> None:
        super().__init__(**given)
        self.error = error
        self.traceback = "".join(traceback.format_exception(error, limit=-3))

    def runtest(self) -> None:
        reference = self.parent.name if self.parent else ""
        record = Record(reference, "load", "crashed", one_line(self.error))
        self.user_properties.append((_PROPERTY, record.to_dict()))
        raise self.error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Where the factory raised, without our own stack and pytest's."""
        return self.traceback


def _expected_failures(file: str | None) -> dict[tuple[str, str], str]:
    """Reasons by (explainer, axiom)."""
    expected: dict[tuple[str, str], str] = {}
    if file is None:
        return expected
    try:
        lines = Path(file).read_text().splitlines()
    except OSError as error:
        raise pytest.UsageError(f"--xai-expected-failures: {error}") from None
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            place, colon, reason = line.partition(":")
            explainer, slash, claimed = place.strip().rpartition("/")
            if not (colon and slash and reason.strip()):
                raise pytest.UsageError(
                    f"{file}, line {number}: 'explainer/axiom: reason' was expected; it is {line!r}"
                )
            expected[explainer, claimed] = reason.strip()
    return expected
