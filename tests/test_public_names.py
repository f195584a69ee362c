"""What documentation and scripts may import: the public faces of packages, and nothing else."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import xai_adapters

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "xai_adapters",
    *(
        module.name
        for module in pkgutil.walk_packages(xai_adapters.__path__, "xai_adapters.")
        if module.ispkg
    ),
]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
SCRIPTS = sorted(ROOT.glob("benchmarks/*.py"))

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="the scripts are not beside the tests")


def code_of(page: Path) -> Iterator[str]:
    """The Python code of a page: fenced blocks, without prompts and with doctests' answers cut."""
    for block in re.findall(r"```(?:python|pycon)\n(.*?)```", page.read_text(), re.DOTALL):
        if ">>> " in block:
            lines = re.findall(r"^(?:>>>|\.\.\.) ?(.*)$", block, re.MULTILINE)
            yield "\n".join(lines)
        else:
            yield block


def imports_of(code: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) of every import of ours; the name is None for `import module`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xai_adapters":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name, None)
                for alias in node.names
                if alias.name.split(".")[0] == "xai_adapters"
            )


def private_imports(code: str) -> list[str]:
    """The imports that reach behind a public face."""
    return [
        f"{module}.{name}" if name else module
        for module, name in imports_of(code)
        if module not in PACKAGES or (name and name != "*" and name not in face_of(module))
    ]


def face_of(package: str) -> list[str]:
    """What a package exports; its public subpackages count."""
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        pytest.skip(str(error))
    inside = [name.rpartition(".")[2] for name in PACKAGES if name.rpartition(".")[0] == package]
    return [*module.__all__, *inside]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_public_names_only(page: Path):
    assert not [name for code in code_of(page) for name in private_imports(code)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_import_public_names_only(script: Path):
    assert not private_imports(script.read_text())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_face_whose_names_exist(package: str):
    names = face_of(package)
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__), names


def test_the_files_that_contributing_points_to_exist():
    table = re.findall(
        r"^\| .* \| `([a-z_/.]+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
    )
    assert len(table) >= 24
    assert not [path for path in table if not (ROOT / "xai_adapters" / path).exists()]


def test_a_private_import_is_seen():
    assert private_imports("from xai_adapters.box.hinge import ExpectedHinge")
    assert private_imports("from xai_adapters.box import ExpectedHinge")
    assert not private_imports(
        "from xai_adapters.box import InvariantBox\nimport xai_adapters.captum"
    )
