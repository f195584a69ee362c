from __future__ import annotations

import math
import os.path
from collections import OrderedDict

import pytest

from xai_adapters.errors import InvalidInputError, UnknownNameError
from xai_adapters.utils.references import is_reference, resolve


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [
        ("math:pi", math.pi),
        ("os.path:join", os.path.join),
        ("collections:OrderedDict", OrderedDict),
    ],
)
def test_what_a_reference_names_is_imported(reference, wanted):
    assert is_reference(reference)
    assert resolve(reference) == wanted


def test_names_are_no_references():
    assert not is_reference("lime")


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("math", InvalidInputError, "'math' is not of the form module:attribute"),
        ("math:", InvalidInputError, "'math:' is not of the form module:attribute"),
        (":pi", InvalidInputError, "':pi' is not of the form module:attribute"),
        (".math:pi", InvalidInputError, "'.math:pi' is not of the form module:attribute"),
        ("no_such_module:f", InvalidInputError, "cannot import 'no_such_module:f': No module"),
        ("math:pie", UnknownNameError, "unknown attribute of math 'pie'. Did you mean 'pi'?"),
        ("broken_module:f", InvalidInputError, r"ZeroDivisionError: .* (broken_module.py, line 2)"),
        ("half_module:f", InvalidInputError, "SyntaxError"),
    ],
)
def test_a_bad_reference_says_what_is_wrong(reference, error, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("x = 0\ny = 1 / x\n")
    (tmp_path / "half_module.py").write_text("def f(:\n")
    with pytest.raises(error) as raised:
        resolve(reference)
    start, _, end = message.partition(".*")
    assert start in str(raised.value)
    assert end in str(raised.value)
