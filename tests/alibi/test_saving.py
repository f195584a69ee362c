"""Explanations as JSON, and explainers on disk: what was written is what is read."""

from __future__ import annotations

import copy
import json
import math
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from counterfactuals import BOTH, QUICK, labels, network, normal, three_classes
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from schemas import rows_of, schemas

from xai_adapters.alibi.convention import plain
from xai_adapters.errors import FitWarning, InvalidInputError, NotFittedError, SavedExplainerError

X = normal(300, 3)
ROWS = normal(4, 3, seed=1)
SUPPORT = Path(__file__).parent.parent / "support"


def strict(text: str) -> object:
    """Read JSON that has neither NaN nor infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def alike(one, other) -> bool:
    """Whether two explanations say the same, JSON's lists taken for arrays."""
    return plain(one.data) == plain(other.data) and plain(one.meta) == plain(other.meta)


@pytest.fixture(scope="module", params=BOTH)
def fitted(request, adapter):
    name = request.param
    explainer = getattr(adapter, name)(
        three_classes,
        feature_names=["a", "b", "c"],
        immutable_features=["c"],
        feature_range=(np.full((1, 3), -9.0), np.full((1, 3), np.float32(9))),
        target_class=np.int64(1),
        **QUICK[name],
    )
    return explainer.fit(X)


# JSON.


@pytest.mark.parametrize("n_rows", [1, 4])
def test_an_explanation_comes_back_from_its_json(adapter, fitted, n_rows):
    explanation = fitted.explain(ROWS[:n_rows])
    text = explanation.to_json()
    back = adapter.Explanation.from_json(text)
    assert back.to_json() == text
    assert back.meta == strict(text)["meta"]
    assert back.success == plain(explanation.success)
    # To the last bit.
    assert (np.array(back.cf["X"]) == explanation.cf["X"]).all()
    assert (np.array(back.orig_proba) == explanation.orig_proba).all()


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(width=32)
    | st.text(max_size=3)
    | st.floats(width=32).map(np.float32)
    | st.integers(-9, 9).map(np.int64)
    | st.booleans().map(np.bool_)
    | st.lists(st.floats(width=32), max_size=3).map(np.array)
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
    | st.just(torch.device("cpu"))
    | st.just(torch.float32)
)
HELD = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9).map(np.int64), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(held=HELD)
def test_whatever_an_explanation_holds_is_strict_json_and_comes_back(adapter, held):
    explanation = adapter.Explanation(meta={"name": "some"}, data={"held": held})
    text = explanation.to_json()
    strict(text)
    assert adapter.Explanation.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (np.array([[1.5, np.nan], [np.inf, -2]]), [[1.5, None], [None, -2.0]]),
        (np.bool_(True), True),
        ({np.int64(3): np.float32(0.5)}, {"3": 0.5}),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.device("cpu"), "cpu"),
        (math.nan, None),
        ((1, "a"), [1, "a"]),
    ],
    ids=str,
)
def test_what_has_no_json_becomes_the_nearest_that_has(held, expected):
    found = plain(held)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"meta": {}}'])
def test_what_is_no_explanation_is_a_value_error(adapter, text):
    with pytest.raises(InvalidInputError, match="explanation"):
        adapter.Explanation.from_json(text)


# Our own file.


def test_a_loaded_explainer_explains_as_the_saved_one_did(adapter, fitted, tmp_path):
    fitted.save(tmp_path / "explainer")
    loaded = type(fitted).load(tmp_path / "explainer", three_classes)
    assert alike(loaded.explain(ROWS), fitted.explain(ROWS))
    assert loaded.meta == fitted.meta
    assert list(tmp_path.iterdir()) == [tmp_path / "explainer"]
    # It can be fitted and saved as if it had never been on disk.
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "explainer").read_bytes()
    assert alike(loaded.fit(X).explain(ROWS), fitted.explain(ROWS))


@settings(max_examples=5)
@given(schema=schemas(), seed=st.integers(0, 9))
@pytest.mark.parametrize("name", BOTH)
def test_explainers_and_explanations_of_any_schema_come_back(
    adapter, name, tmp_path_factory, schema, seed
):
    rows = rows_of(schema, 50, seed).numpy()
    weights = normal(schema.n_columns, seed=seed)

    def predictor(asked):
        return asked @ weights > np.median(rows @ weights)

    explainer = getattr(adapter, name)(predictor, schema=schema, **{**QUICK[name]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        explanation = explainer.fit(rows).explain(rows[:3])
    path = tmp_path_factory.mktemp("saved") / "explainer"
    explainer.save(path)
    loaded = type(explainer).load(path, predictor)
    assert alike(loaded.explain(rows[:3]), explanation)
    back = adapter.Explanation.from_json(explanation.to_json())
    assert alike(back, explanation)


def test_a_loaded_explainer_numbers_labels_as_fit_did(adapter, tmp_path):
    for name in BOTH:
        explainer = getattr(adapter, name)(labels, **QUICK[name]).fit(X)
        explainer.save(tmp_path / name)
        loaded = type(explainer).load(tmp_path / name, labels)
        for row in (ROWS[:1], ROWS[1:2], ROWS[2:3]):
            assert alike(loaded.explain(row, 2), explainer.explain(row, 2))


def test_words_and_a_box_that_was_never_fitted_are_saved_too(adapter, tmp_path):
    name = "InvariantBoxCounterfactual"
    words = {"cat_vars": {2: 3}, "ohe": True}
    explainer = getattr(adapter, name)(network(5), **words, **QUICK[name])
    explainer.save(tmp_path / "box")
    loaded = type(explainer).load(tmp_path / "box", network(5))
    rows = np.concatenate([normal(3, 2), np.eye(3)], axis=1)
    assert alike(loaded.explain(rows), explainer.explain(rows))


def test_a_constant_predictors_explainer_is_saved_too(adapter, tmp_path):
    for name in BOTH:
        explainer = getattr(adapter, name)(lambda rows: np.ones(len(rows), int), **QUICK[name])
        with pytest.warns(FitWarning):
            explainer.fit(X)
        explainer.save(tmp_path / name)
        loaded = type(explainer).load(tmp_path / name, explainer.predictor)
        assert alike(loaded.explain(ROWS), explainer.explain(ROWS))


def test_an_unfitted_explainer_and_a_foreign_file_are_named(adapter, tmp_path):
    explainer = adapter.FIMAPCounterfactual(three_classes)
    with pytest.raises(NotFittedError, match="fit"):
        explainer.save(tmp_path / "file")
    adapter.InvariantBoxCounterfactual(network()).save(tmp_path / "file")
    with pytest.raises(SavedExplainerError, match="not a FIMAPCounterfactual"):
        adapter.FIMAPCounterfactual.load(tmp_path / "file", three_classes)
    with pytest.raises(TypeError, match="predictor"):
        adapter.InvariantBoxCounterfactual.load(tmp_path / "file", "model")


# Files of earlier versions.

OLD_NAMES = {"line_search": "check", "sparsify": "put_back", "output_type": "output"}
OLD_SETTINGS = {"loss": "cross_entropy", "margin": 1.0, "flip_rate": None, "straight_through": True}


def by_old_names(options: dict) -> dict:
    return {OLD_NAMES.get(name, name): value for name, value in options.items()}


def as_format_1(path: Path) -> None:
    """Rewrite a saved explainer, and those inside of it, as version 0.1 wrote them."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["xai_adapters"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = header["facts"]
    if "output_type" in facts:
        form = facts.pop("output_type")
        facts["reading"] = by_old_names(form) if isinstance(form, dict) else form
    if "arguments" in facts:
        facts["arguments"] = by_old_names(facts["arguments"])
    if header["kind"] in ("MinimalPerturbation", "FIMAPCounterfactual"):
        facts["settings"] |= OLD_SETTINGS
    else:
        facts["settings"] |= {"draws": "tilted", "compiled": False}
        facts["settings"]["surrogate"] |= OLD_SETTINGS
    for name in {"core", "surrogate"} & set(tensors):
        inner = path.with_name(name)
        tensors[name].numpy().tofile(inner)
        as_format_1(inner)
        tensors[name] = torch.from_numpy(np.fromfile(inner, dtype=np.uint8))
        inner.unlink()
    header["version"] = 1
    save_file(tensors, path, metadata={"xai_adapters": json.dumps(header)})


@pytest.fixture
def format_1_file(fitted, tmp_path) -> Path:
    path = tmp_path / "explainer"
    fitted.save(path)
    as_format_1(path)
    assert (b"put_back" in path.read_bytes()) == ("sparsify" in fitted.meta["params"])
    assert b"output_type" not in path.read_bytes()
    return path


def test_files_of_format_1_give_the_same_answers(fitted, format_1_file):
    loaded = type(fitted).load(format_1_file, three_classes)
    assert plain(loaded.explain(ROWS).data) == plain(fitted.explain(ROWS).data)
    in_meta = loaded.meta["params"]
    assert in_meta.pop("sampling", "importance") == "importance"
    assert in_meta == fitted.meta["params"]


@pytest.mark.parametrize("name", BOTH)
def test_pickles_of_the_version_before_give_the_same_answers(adapter, name):
    explainer = getattr(adapter, name)(three_classes, **QUICK[name]).fit(X)
    state = copy.deepcopy(explainer.__getstate__())
    state["_reading"] = state.pop("_output_form")
    settings = OLD_SETTINGS if name == "FIMAPCounterfactual" else {"compiled": False}
    state["_settings"] |= settings
    state["meta"]["params"] |= settings
    for part in ("_arguments", "_settings", "_reading"):
        state[part] = by_old_names(state[part])
    state["meta"]["params"] = state["params"] = by_old_names(state["meta"]["params"])
    loaded = type(explainer).__new__(type(explainer))
    loaded.__setstate__(state)
    assert alike(loaded.explain(ROWS), explainer.explain(ROWS))
    assert loaded.meta == explainer.meta
    assert loaded.params is loaded.meta["params"]
    assert repr(loaded) == repr(explainer)


# Fresh processes.

LOAD = """
import importlib.util, sys
sys.path.insert(0, {support!r})
if {hidden}:
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == "alibi" else find_spec(name)
import numpy as np
from counterfactuals import BOTH, normal, three_classes
from xai_adapters import alibi
for name in BOTH:
    explainer = getattr(alibi, name).load({folder!r} + "/" + name, three_classes)
    print(explainer.explain(normal(4, 3, seed=1)).to_json())
    if not {hidden}:
        from alibi.saving import load_explainer
        explainer = load_explainer({folder!r} + "/alibi/" + name, three_classes)
        print(explainer.explain(normal(4, 3, seed=1)).to_json())
assert ("alibi" in sys.modules) is not {hidden}
"""


@pytest.mark.parametrize("hidden", [False, True], ids=["with alibi", "without alibi"])
def test_loading_needs_neither_data_nor_this_process(hidden, tmp_path):
    from xai_adapters import alibi

    if not hidden:
        pytest.importorskip("alibi", exc_type=ImportError)
    expected = []
    for name in BOTH:
        explainer = getattr(alibi, name)(three_classes, **QUICK[name]).fit(X)
        explainer.save(tmp_path / name)
        expected.append(plain(explainer.explain(ROWS).data))
        if not hidden:
            from alibi.saving import save_explainer

            save_explainer(explainer, tmp_path / "alibi" / name)
            assert explainer.predictor is three_classes
            expected.append(expected[-1])
    program = LOAD.format(support=str(SUPPORT), folder=str(tmp_path), hidden=hidden)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert [strict(line)["data"] for line in ran.stdout.splitlines()] == expected


@pytest.mark.parametrize("name", BOTH)
def test_no_tensor_is_pickled(name):
    from xai_adapters import alibi

    explainer = getattr(alibi, name)(three_classes, **QUICK[name]).fit(X)
    explainer.predictor = None
    content = pickle.dumps(explainer)
    assert b"torch" not in content
    loaded = pickle.loads(content)
    for each in (explainer, loaded):
        each.reset_predictor(three_classes)
    assert alike(loaded.explain(ROWS), explainer.explain(ROWS))
