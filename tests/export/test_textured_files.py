"""Textured reconstructions as files: valid, and without a seam whatever reads them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raylift.core.types import Mesh
from raylift.export.mesh_files import encode_glb, write_mesh
from raylift.export.parts import sample_texture, split_into_parts
from raylift.export.texture_padding import PADDING, pad_texture
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape, write_viewer
from raylift.geometry.cameras import orbit_views
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from tests.export.gltf_structure import Glb
from tests.export.headless import chromium, wait_for
from tests.export.shapes import checkered_sphere, colored_sphere, textured_square, two_material_scene
from tests.rendering.pixels import rgba8


def test_structure_of_every_kind_of_file() -> None:
    for shape in (checkered_sphere(), textured_square(), colored_sphere(), two_material_scene()):
        assert Glb(encode_glb(shape)).problems == []
    broken = bytearray(encode_glb(textured_square()))
    broken[8] ^= 4
    assert Glb(bytes(broken)).problems == ["header", "binary chunk"]


def test_nothing_beyond_the_border_is_read() -> None:
    mesh = checkered_sphere()
    assert mesh.corner_uvs is not None
    assert mesh.corner_uvs[..., 0].max() > 1  # or there would be nothing to pad for
    (part,) = split_into_parts(mesh)
    assert part.uvs is not None
    assert part.texture is not None
    height, width = part.texture.shape[:2]
    texels = part.uvs * (width, height)
    assert texels.min() >= PADDING - 1e-3
    assert (texels <= np.array([width, height]) - PADDING + 1e-3).all()


def test_padded_textures_look_the_same() -> None:
    mesh = checkered_sphere()
    (part,) = split_into_parts(mesh)
    assert part.uvs is not None
    assert part.texture is not None
    again = Mesh(
        torch.from_numpy(part.positions),
        torch.from_numpy(part.indices.astype(np.int64)),
        corner_uvs=torch.from_numpy(part.uvs[part.indices]),
        texture=torch.from_numpy(part.texture.copy()).float() / 255,
    )
    cameras = orbit_views(4, (-70.0, 70.0))
    for before, after in zip(
        render(mesh, cameras, 48, Lighting.ambient()), render(again, cameras, 48, Lighting.ambient()), strict=True
    ):
        assert np.abs(before.rgb - after.rgb).max() < 0.06
        assert np.abs(before.rgb - after.rgb).mean() < 0.002


def test_far_away_the_back_shows_no_seam() -> None:
    """Two vertices in one place on either side of the seam must read one colour, at every level of a mipmap."""
    mesh = checkered_sphere()
    (part,) = split_into_parts(mesh)
    assert part.uvs is not None
    assert part.texture is not None
    _, first, owner = np.unique(part.positions, axis=0, return_index=True, return_inverse=True)
    twins = [(first[slot], index) for index, slot in enumerate(owner.ravel()) if first[slot] != index]
    assert twins
    height, width = part.texture.shape[:2]
    for level in range(4):
        size = 2**level
        rows, columns = height // size * size, width // size * size
        blocks = part.texture[:rows, :columns].reshape(rows // size, size, columns // size, size, 3)
        small = blocks.mean(axis=(1, 3)).round().astype(np.uint8)
        scaled = part.uvs * (width / columns, 1)
        scaled[:, 1] = 1 - (1 - part.uvs[:, 1]) * height / rows
        colors = sample_texture(small, scaled)
        away = np.abs(part.positions[:, 1]) < 0.45  # at the poles u means nothing, and texels of all sides meet
        steps = [np.abs(colors[a] - colors[b]).max() for a, b in twins if away[a]]
        assert max(steps) < 0.02 * size


def test_gaps_take_the_nearest_shown_colour() -> None:
    texture = np.zeros((32, 32, 3), np.uint8)
    texture[:, :16] = (200, 10, 10)  # the left half is shown, the right is whatever a network left there
    texture[:, 16:] = (0, 255, 0)
    uvs = np.array([[[0.1, 0.1], [0.4, 0.1], [0.4, 0.9]], [[0.1, 0.1], [0.4, 0.9], [0.1, 0.9]]], np.float32)
    padded, moved = pad_texture(texture, uvs)
    assert (padded == (200, 10, 10)).all()
    assert padded.shape == (32 + 2 * PADDING, 32 + 2 * PADDING, 3)
    np.testing.assert_allclose(moved * 48 - PADDING, uvs * 32, atol=1e-4)


def test_tiled_textures_are_left_alone() -> None:
    texture = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    uvs = np.array([[[0, 0], [4, 0], [4, 3]]], np.float32)
    same, coordinates = pad_texture(texture, uvs)
    assert same is texture
    assert coordinates is uvs


def test_obj_material_and_picture_lie_together(tmp_path: Path) -> None:
    write_mesh(checkered_sphere(), tmp_path / "bird.obj")
    assert {path.name for path in tmp_path.iterdir()} == {"bird.obj", "bird.mtl", "bird_0.png"}
    assert "map_Kd bird_0.png" in (tmp_path / "bird.mtl").read_text()
    coordinates = [line.split()[1:] for line in (tmp_path / "bird.obj").read_text().splitlines() if line[:3] == "vt "]
    values = np.array(coordinates, float)
    assert values.min() > 0
    assert values.max() < 1


_VALIDATE = """
const { validateBytes } = require('gltf-validator');
const fs = require('fs');
validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])), { maxIssues: 20 })
  .then((report) => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Khronos's validator, from the npm registry."""
    folder = tmp_path_factory.mktemp("validator")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "gltf-validator@2.0.0-dev.3.10"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "validate.js").write_text(_VALIDATE)
    return folder / "validate.js"


@pytest.mark.download
@pytest.mark.node
@pytest.mark.parametrize("kind", ["sphere", "square", "colours", "scene"])
def test_khronos_s_validator_finds_nothing(validator: Path, tmp_path: Path, kind: str) -> None:
    shapes = {
        "sphere": checkered_sphere(),
        "square": textured_square(),
        "colours": colored_sphere(),
        "scene": two_material_scene(),
    }
    path = write_mesh(shapes[kind], tmp_path / f"{kind}.glb")
    done = subprocess.run(["node", str(validator), str(path)], check=True, capture_output=True, text=True)
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


_BACK = """
return [...document.querySelectorAll('canvas')].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width);
  const row = canvas.width >> 1, colors = [];
  for (let x = (canvas.width * 0.3) | 0; x < canvas.width * 0.7; x++) {
    colors.push([...data.slice(4 * (canvas.width * row + x), 4 * (canvas.width * row + x) + 3)]);
  }
  return colors;
});
"""


@pytest.mark.browser
def test_the_viewer_shows_the_back_without_a_seam(tmp_path: Path) -> None:
    from raylift.geometry.cameras import orbit

    mesh = checkered_sphere(3)
    seen = render(mesh, orbit(180.0, 10.0), 96, Lighting.ambient())[0]
    row = ViewerRow(
        "ball", [ViewerImage("Input", rgba8(seen))], [ViewerShape("Reconstruction", mesh)], orbit(180.0, 10.0)
    )
    page = write_viewer([row], tmp_path / "viewer.html", "Textured")
    with chromium() as browser:
        browser.get(page.as_uri())
        wait_for(browser, lambda: browser.execute_script("return document.documentElement.dataset.drawn") == "1")
        assert browser.execute_script("return document.querySelectorAll('img').length") == 1
        colors = np.array(browser.execute_script(_BACK)[0], float)
        browser.save_screenshot(str(tmp_path / "viewer.png"))
    assert np.ptp(colors[:, 1]) > 60  # green falls from one side of the back to the other
    assert np.abs(np.diff(colors, axis=0)).max() < 30


def test_a_plain_mesh_keeps_its_parts() -> None:
    mesh = replace(textured_square(), texture=None)
    (part,) = split_into_parts(mesh)
    assert part.texture is None
    assert part.uvs is None
