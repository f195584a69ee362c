"""What an installation without the optional libraries can do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import xai_adapters

ROOT = Path(xai_adapters.__file__).parent.parent

# Hides every installed library but the named distributions and what these need themselves.
HIDE = """
import importlib.metadata as metadata
import re
import sys
from importlib.machinery import PathFinder

def needed(names):
    found, left = set(), list(names)
    while left:
        name = re.split(r"[^A-Za-z0-9_.-]", left.pop())[0].lower().replace("_", "-")
        if name not in found:
            try:
                wanted = metadata.requires(name) or ()
            except metadata.PackageNotFoundError:
                continue
            found.add(name)
            left += [want for want in wanted if "extra ==" not in want]
    return found

class Hider:
    def __init__(self, distributions, hidden=()):
        allowed = needed(distributions)
        self.hidden = set(hidden) | {
            module
            for module, owners in metadata.packages_distributions().items()
            if not allowed & {owner.lower().replace("_", "-") for owner in owners}
        }
        self.hidden.discard("xai_adapters")

        sys.meta_path = [self if f is PathFinder else f for f in sys.meta_path]

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in self.hidden
        return None if hidden else PathFinder.find_spec(name, path, target)

    def find_distributions(self, context):
        return PathFinder.find_distributions(context)
"""
CORE = ("torch", "numpy", "safetensors")
OPTIONAL = ("captum", "shap", "alibi", "sklearn", "pandas", "tqdm", "typer", "rich", "plotly")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HIDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_works_with_torch_numpy_and_safetensors_alone():
    printed = run(
        f"""
        Hider({CORE!r})
        import xai_adapters
        import torch

        X = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
        fimap = xai_adapters.MinimalPerturbation(epochs=1).fit(X, lambda X: X[:, 0] > 0)
        print(len(fimap.perturb(X).perturbed))
        box = xai_adapters.InvariantBox(n_steps=2).solve(lambda x: x, X)
        print(len(box.width))
        """
    )
    assert printed.split() == ["64", "64"]


def test_importing_the_package_imports_no_optional_library():
    printed = run(
        f"""
        import numpy, safetensors, torch

        before = set(sys.modules)
        import xai_adapters

        print([name for name in {OPTIONAL!r} if name in set(sys.modules) - before])
        """
    )
    assert printed.strip() == "[]"


def test_every_exported_name_exists():
    assert all(hasattr(xai_adapters, name) for name in xai_adapters.__all__)


@pytest.mark.parametrize("module", ["xai_adapters.captum", "xai_adapters.shap"])
def test_a_missing_host_is_answered_with_the_extra_that_brings_it(module):
    host = module.rpartition(".")[2]
    printed = run(
        f"""
        Hider({CORE!r}, hidden=[{host!r}])
        try:
            import {module}
        except ImportError as error:
            print(error)
        """
    )
    assert f"pip install 'xai-adapters[{host}]'" in printed


def test_a_progress_bar_without_tqdm_is_answered_with_the_extra_that_brings_it():
    printed = run(
        f"""
        Hider({CORE!r})
        import torch
        import xai_adapters

        try:
            xai_adapters.InvariantBox(show_progress=True).solve(lambda x: x, torch.ones(2, 2))
        except ImportError as error:
            print(error)
        """
    )
    assert "pip install 'xai-adapters[benchmark]'" in printed
