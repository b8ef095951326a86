"""What is written as GLB is read back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.export.glb_reading import read_glb
from raylift.export.mesh_files import write_mesh
from raylift.export.parts import split_into_parts
from tests.export.shapes import colored_sphere, textured_square, two_material_scene


@pytest.mark.parametrize("make", [colored_sphere, textured_square, two_material_scene])
def test_parts_come_back(make: object, tmp_path: Path) -> None:
    shape = make()  # type: ignore[operator]
    found = read_glb(write_mesh(shape, tmp_path / "mesh.glb"))
    wanted = split_into_parts(shape)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.positions, theirs.positions)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        assert ours.base_color == pytest.approx(theirs.base_color, abs=1e-6)
        for name, close in (("normals", 1e-6), ("colors", 0), ("uvs", 1e-6), ("texture", 0)):
            own, other = getattr(ours, name), getattr(theirs, name)
            assert (own is None) == (other is None), name
            if own is not None:
                np.testing.assert_allclose(own.astype(np.float64), other.astype(np.float64), atol=close)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.glb").write_bytes(b"not a mesh at all, nor anything like it")
    with pytest.raises(DataError, match=r"no\.glb is not a GLB that raylift wrote"):
        read_glb(tmp_path / "no.glb")
