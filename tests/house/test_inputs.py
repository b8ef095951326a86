"""Bytes of unknown origin are read in one place, which knows the limits (``core/inputs``)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "platform" / "raylift"
HOMES = {
    "Image.open": ("core/inputs/pictures.py",),
    "np.load": (),
    "np.lib.format.read_array": ("core/inputs/arrays.py",),
    "pickle.load": (),
    "pickle.loads": ("data/feed/pipeline.py",),  # batches that this run packed itself
    "scipy.io.loadmat": ("data/sources/array_archives.py",),  # after core.inputs.matlab
    "tarfile.open": ("core/inputs/archives.py",),
    "trimesh.load_scene": ("data/sources/mesh_reading.py",),  # after gltf_checks, with its own resolver
    "zipfile.ZipFile": ("core/inputs/archives.py",),
    **dict.fromkeys(("shutil.unpack_archive", "Image.fromstring", "imageio.imread", "skimage.io.imread", "eval"), ()),
}


@pytest.fixture(scope="module")
def calls() -> dict[str, dict[str, list[ast.Call]]]:
    """All calls of the package by what is called, in each file that names a reader."""
    words = re.compile("|".join(rf"\b{name.rpartition('.')[2]}\b" for name in (*HOMES, "torch.load")))
    found: dict[str, dict[str, list[ast.Call]]] = {}
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        here = found.setdefault(str(path.relative_to(PACKAGE)), {})
        for node in ast.walk(ast.parse(text)) if words.search(text) else ():
            if isinstance(node, ast.Call):
                here.setdefault(ast.unparse(node.func), []).append(node)
    return found


@pytest.mark.parametrize("name", HOMES)
def test_a_reader_has_its_home(name: str, calls: dict[str, dict[str, list[ast.Call]]]) -> None:
    found = {file for file, called in calls.items() if name in called}
    assert found == set(HOMES[name]), f"read it through raylift.core.inputs: {found ^ set(HOMES[name])}"


def test_nothing_loads_code_from_a_checkpoint(calls: dict[str, dict[str, list[ast.Call]]]) -> None:
    loads = [(file, node) for file, called in calls.items() for node in called.get("torch.load", ())]
    assert len(loads) > 3
    for file, node in loads:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        # testing/ranks.py reads what the test's own processes wrote.
        assert given["weights_only"] == "True" or file == "testing/ranks.py", file
