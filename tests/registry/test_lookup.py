"""Explainers by name: built-in ones, and those that installed packages add."""

import subprocess
import sys
from pathlib import Path

import pytest

from xai_adapters.errors import InvalidInputError, UnknownNameError, require
from xai_adapters.registry import ExplainerEntry, explainer_entry, explainer_names
from xai_adapters.registry.lookup import built_in

ISSUED = {
    "fimap", "saliency", "input_x_gradient", "integrated_gradients", "integrated_gradients_mask",
    "guided_backprop", "deep_lift", "deep_lift_mask", "lrp", "occlusion", "occlusion_mask",
    "smooth_grad", "gradient_shap", "kernel_shap", "lime", "shapley_value_sampling",
    "shap_kernel", "shap_permutation", "lime_tabular", "random", "greedy", "invariant_box",
}  # fmt: skip


def test_every_name_has_an_entry():
    assert set(explainer_names()) >= ISSUED
    for name in explainer_names():
        assert explainer_entry(name).name == name


def test_ours_come_first_and_references_last():
    roles = [explainer_entry(name).role for name in built_in()]
    assert roles == sorted(roles, key=["ours", "comparator", "upper bound", "chance"].index)


def test_looking_up_imports_no_host():
    code = (
        "import sys\n"
        "from xai_adapters.registry import explainer_entries, explainer_entry\n"
        "assert len(explainer_entries()) > 40 and explainer_entry('lime').summary\n"
        "hosts = {'captum', 'shap', 'lime', 'dice_ml', 'alibi', 'sklearn', 'pandas', 'scipy'}\n"
        "print(sorted(hosts & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'fimap'"):
        explainer_entry("fimapp")


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that adds explainers by entry points, one of them broken."""
    (tmp_path / "theirs.py").write_text(
        "from xai_adapters.registry import ExplainerEntry, FunctionExplainer, registered\n"
        "ones = ExplainerEntry('x', 'all ones', lambda s: FunctionExplainer(lambda r, t: r * 0))\n"
        "@registered(baseline='data', kind='counterfactual')\n"
        "def maker(subject):\n"
        "    'Decorated.'\n"
        "broken = 3\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[xai_adapters.explainers]\ntheir_ones = theirs:ones\ntheir_broken = theirs:broken\n"
        "their_maker = theirs:maker\nfimap = theirs:ones\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    return tmp_path


def test_entry_points_add_explainers_without_importing_them(third_party: Path):
    assert "their_ones" in explainer_names()
    assert "theirs" not in sys.modules
    entry = explainer_entry("their_ones")
    assert isinstance(entry, ExplainerEntry)
    assert (entry.name, entry.summary) == ("their_ones", "all ones")
    # Nobody takes a built-in name.
    assert explainer_entry("fimap").summary.startswith("FIMAP")
    assert explainer_names().count("fimap") == 1


def test_an_entry_point_may_be_a_decorated_maker(third_party: Path):
    entry = explainer_entry("their_maker")
    assert (entry.name, entry.summary, entry.baseline) == ("their_maker", "Decorated", "data")
    assert entry.reads == "probabilities"
    assert entry.load().__name__ == "maker"


def test_an_entry_point_that_is_no_explainer_is_named(third_party: Path):
    with pytest.raises(InvalidInputError, match=r"'their_broken'.* is a int"):
        explainer_entry("their_broken")


def test_an_entry_point_that_cannot_be_loaded_is_left_out_of_all(third_party: Path):
    (third_party / "theirs.py").write_text("1 / 0")
    with pytest.raises(InvalidInputError, match=r"'their_ones'.*'theirs:ones'.*ZeroDivisionError"):
        explainer_entry("their_ones")
    with pytest.warns(UserWarning, match="their_ones.* it is left out"):
        names = explainer_names("attribution")
    assert "saliency" in names
    assert not {"their_ones", "their_broken"} & set(names)


def test_a_library_that_lacks_its_own_parts_is_not_called_missing(third_party: Path):
    (third_party / "half.py").write_text("import a_part_of_half\n")
    with pytest.raises(ModuleNotFoundError, match="a_part_of_half"):
        require("half", "benchmark")
    with pytest.raises(ImportError, match=r"xai-adapters\[benchmark\]"):
        require("surely_not_installed", "benchmark")
